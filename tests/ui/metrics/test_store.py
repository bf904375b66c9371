from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from bonefx.consensus import CONSENSUS
from bonefx.evaluation import report
from bonefx.results import Identity, Member, Outcome, Weights
from bonefx.settings import Settings
from bonefx.ui.metrics.store import MetricsStore
from tests import hub_server as trouble
from tests.evaluation.test_original import V3
from tests.ui import reports
from tests.ui.reports import FRCNN, USED, YOLO

REPO = "owner/metrics"
WAIT = 10.0  # seconds, for an answer that comes at once


def weights(sha256: str) -> Weights:
    return Weights("local", None, None, "a.pt", sha256)


class Clock:
    """A clock that tests set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path):
    return reports.package(tmp_path)


@pytest.fixture
def settings(hub) -> Settings:
    return Settings(metrics_repo_id=REPO, metrics_repo_type="dataset", endpoint=hub.url)


def published(**changes) -> dict[str, bytes]:
    """Metrics files for the Hub, later than the packaged ones."""
    files = {}
    for model_id, name in ((FRCNN, "metrics_frcnn.json"), (YOLO, "metrics_yolo.json")):
        made = {**reports.measured()[model_id], "created": "2026-12-24T00:00:00Z", **changes}
        files[name] = report.dumps(made).encode()
    return files


def sources(store: MetricsStore) -> dict[str, str]:
    return {model_id: entry.source for model_id, entry in store.current().items()}


def test_packaged_at_once_then_the_hub_s(hub, folder, settings):
    sha = hub.put(REPO, published(), "dataset")
    clock = Clock()
    store = MetricsStore(settings, folder=folder, clock=clock)
    assert sources(store) == {FRCNN: "packaged", YOLO: "packaged"}
    assert all(entry.note == "" for entry in store.current().values())
    assert store.settled(WAIT)
    assert sources(store) == {FRCNN: "hub", YOLO: "hub"}
    entry = store.current()[YOLO]
    assert (entry.repo, entry.revision, entry.file) == (REPO, sha, "metrics_yolo.json")
    assert entry.report["created"] == "2026-12-24T00:00:00Z"
    assert store.where(entry) == f"from the Hub dataset repo {REPO}, commit {sha[:7]}, fetched just now"
    clock.now += 200
    assert store.where(entry).endswith("fetched 3 minutes ago")
    assert store.packaged("measured")[YOLO].report["created"] == "2026-11-01T00:00:00Z"


def test_a_page_never_waits_for_a_silent_hub(hub, folder, settings):
    hub.trouble(trouble.silence)
    store = MetricsStore(settings, folder=folder)
    started = time.monotonic()
    assert sources(store) == {FRCNN: "packaged", YOLO: "packaged"}
    assert time.monotonic() - started < 1
    assert not store.settled()


def test_asked_again_when_the_answer_is_old_and_no_sooner(hub, folder, settings):
    hub.put(REPO, published(), "dataset")
    clock = Clock()
    store = MetricsStore(settings, folder=folder, clock=clock, refresh_seconds=300)
    assert store.refresh(WAIT)
    asked = len(hub.requests)
    new = hub.put(REPO, published(created="2026-12-31T00:00:00Z"), "dataset")

    clock.now += 299
    store.current()
    assert store.settled(WAIT)
    assert len(hub.requests) == asked

    clock.now += 1
    assert store.current()[YOLO].report["created"] == "2026-12-24T00:00:00Z"  # what there is, meanwhile
    assert store.settled(WAIT)
    assert store.current()[YOLO].revision == new
    assert store.current()[YOLO].report["created"] == "2026-12-31T00:00:00Z"


def test_check_again_asks_at_once(hub, folder, settings):
    store = MetricsStore(settings, folder=folder)
    assert store.refresh(WAIT)
    assert "not found on the Hub" in store.current()[YOLO].note
    hub.put(REPO, published(), "dataset")
    assert store.refresh(WAIT)
    assert sources(store) == {FRCNN: "hub", YOLO: "hub"}


def test_a_hub_that_falls_silent_leaves_the_copy_of_this_machine(hub, folder, settings):
    sha = hub.put(REPO, published(), "dataset")
    store = MetricsStore(settings, folder=folder)
    assert store.refresh(WAIT)
    hub.close()
    assert store.refresh(WAIT)
    entry = store.current()[YOLO]
    assert (entry.source, entry.revision, entry.fetched) == ("hub", sha, None)
    assert "No connection" in entry.note
    assert store.where(entry).endswith(f"commit {sha[:7]}, by the copy on this machine")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"half a fi", "is not JSON"),
        (b"[]", "must be a valid dictionary"),
        (b'{"schema_version": 99}', "schema_version 99"),  # of a later BoneFX
        (published(kind="guessed")["metrics_yolo.json"], "kind must be"),
        (published(created=10**400)["metrics_yolo.json"], "created must be a valid string"),
        (b'{"version": 3, "metrics": {"AP50": ' + b"9" * 400 + b"}}", "metrics.AP50 must be"),
        (published()["metrics_frcnn.json"], "it is about Faster R-CNN, not about YOLO"),  # names exchanged
    ],
)
def test_a_hub_file_that_is_no_report_gives_way_to_the_packaged_one(hub, folder, settings, content, reason):
    sha = hub.put(REPO, {**published(), "metrics_yolo.json": content}, "dataset")
    store = MetricsStore(settings, folder=folder)
    assert store.refresh(WAIT)
    assert sources(store) == {FRCNN: "hub", YOLO: "packaged"}
    note = store.current()[YOLO].note
    assert note.startswith(f"metrics_yolo.json of {REPO}, commit {sha[:7]}, is not used")
    assert reason in note


def test_a_file_of_the_original_application_is_shown_as_reported(hub, folder, settings):
    hub.put(REPO, {"metrics_yolo.json": json.dumps(V3).encode()}, "model")
    store = MetricsStore(replace(settings, metrics_repo_type="model"), folder=folder)
    assert store.refresh(WAIT)
    entry = store.current()[YOLO]
    assert (entry.source, entry.report["kind"]) == ("hub", "reported")
    assert entry.report["detector"]["name"] == "YOLO"
    assert store.place(entry).startswith(f"from the Hub repo {REPO}, commit ")
    assert "has no file metrics_frcnn.json" in store.current()[FRCNN].note


def test_without_the_hub(tmp_path):
    store = MetricsStore(Settings(hub=False), folder=reports.package(tmp_path))
    assert store.refresh(WAIT)
    assert sources(store) == {FRCNN: "packaged", YOLO: "packaged"}
    assert "switched off" in store.current()[YOLO].note
    assert store.where(store.current()[YOLO]) == "packaged with the app"


def test_what_travels_with_the_app():
    store = MetricsStore(Settings(hub=False))
    reported = store.packaged("reported")
    assert list(reported) == [FRCNN, YOLO]
    assert {entry.file for entry in reported.values()} == {"reported_frcnn.json", "reported_yolo.json"}
    assert list(store.current()) == [FRCNN, YOLO, CONSENSUS.id]
    assert store.problems() == ()


def test_a_folder_with_a_broken_file_and_with_none(tmp_path):
    (tmp_path / "metrics_yolo.json").write_text("{}")
    store = MetricsStore(Settings(hub=False), folder=tmp_path)
    assert store.current() == {}
    assert store.predictions is None
    assert len(store.problems()) == 1
    assert "The packaged metrics_yolo.json is not used. " in store.problems()[0]


def test_packaged_files_under_a_name_of_one_s_own(tmp_path):
    reports.package(tmp_path)
    mine = {**reports.measured()[YOLO], "created": "2027-01-01T00:00:00Z"}
    report.write(mine, tmp_path / "mine.json")
    store = MetricsStore(Settings(hub=False, metrics_files={"YOLO": "mine.json"}), folder=tmp_path)
    assert store.current()[YOLO].file == "mine.json"
    assert store.packaged("measured")[YOLO].report["created"] == "2027-01-01T00:00:00Z"


def test_files_that_are_written_while_the_app_runs(tmp_path):
    store = MetricsStore(Settings(hub=False), folder=tmp_path)
    assert store.current() == {}
    assert store.settled(WAIT)  # a question that is under way would be joined, and knows nothing of new files
    reports.package(tmp_path)
    assert store.refresh(WAIT)
    assert set(store.current()) == {FRCNN, YOLO}


@pytest.mark.parametrize(
    ("changes", "belongs"),
    [
        ({}, True),
        ({"weights": weights("other")}, False),
        ({"nms": "nms-free"}, False),
        ({"image_size": 320}, False),
        ({"model": FRCNN}, False),  # one model's figures say nothing about another's
        ({"weights": None}, False),  # it failed before it had any
    ],
)
def test_report_for(folder, changes, belongs):
    used = USED[YOLO]
    facts = {"model": YOLO, "weights": weights(used.sha256), "nms": used.nms, "image_size": used.image_size}
    found = MetricsStore(Settings(hub=False), folder=folder).report_for(
        Outcome("a.png", 1, 1, **{**facts, **changes})
    )
    assert (found == reports.measured()[YOLO]) if belongs else (found is None)


def test_report_for_looks_behind_the_hub_s(hub, folder, settings):
    other = reports.measured()[YOLO]
    other["detector"]["members"][0]["sha256"] = "the-hub-s"
    hub.put(REPO, {"metrics_yolo.json": report.dumps(other).encode()}, "dataset")
    store = MetricsStore(settings, folder=folder)
    assert store.refresh(WAIT)
    assert store.find(YOLO, [Identity("the-hub-s", "nms", 640)]).source == "hub"
    assert store.find(YOLO, [USED[YOLO]]).source == "packaged"


# The consensus


def test_metrics_of_the_consensus_are_fetched_beside_the_others(hub, folder, settings):
    fused = {**reports.fused(), "created": "2026-12-24T00:00:00Z"}
    hub.put(REPO, {**published(), "metrics_consensus.json": report.dumps(fused).encode()}, "dataset")
    store = MetricsStore(settings, folder=folder)
    assert store.refresh(WAIT)
    assert sources(store) == {FRCNN: "hub", YOLO: "hub", CONSENSUS.id: "hub"}
    assert store.current()[CONSENSUS.id].report == fused
    assert [each["model"] for each in store.to_records()] == [FRCNN, YOLO, CONSENSUS.id]


def test_where_nobody_has_any_of_the_consensus_there_are_none(hub, folder, settings):
    hub.put(REPO, published(), "dataset")
    store = MetricsStore(settings, folder=folder)
    assert store.refresh(WAIT)
    assert sources(store) == {FRCNN: "hub", YOLO: "hub"}
    assert store.problems() == ()


def test_the_consensus_is_not_taken_from_a_models_file(hub, folder, settings):
    hub.put(REPO, {"metrics_consensus.json": published()["metrics_yolo.json"]}, "dataset")
    hub.put(REPO, {"metrics_yolo.json": report.dumps(reports.fused()).encode()}, "dataset")
    store = MetricsStore(settings, folder=folder)
    assert store.refresh(WAIT)
    assert sources(store) == {FRCNN: "packaged", YOLO: "packaged"}
    assert "it is about Consensus, not about YOLO" in store.current()[YOLO].note


def members(**changes) -> tuple[Member, ...]:
    """As of an outcome; `changes` are of the second."""
    both = [
        Member(model_id, weights(used.sha256), used.nms, used.image_size, None)
        for model_id, used in USED.items()
    ]
    return both[0], replace(both[1], **changes)


@pytest.mark.parametrize(
    ("of", "method", "belongs"),
    [
        (members(), CONSENSUS.method, True),
        (members()[::-1], CONSENSUS.method, True),  # it is the same, whichever comes first
        (members(), "another way of fusing", False),  # of an older or a later BoneFX
        (members(weights=weights("other")), CONSENSUS.method, False),
        (members(nms="nms-free"), CONSENSUS.method, False),
        (members(image_size=320), CONSENSUS.method, False),
        (members(weights=None), CONSENSUS.method, False),  # it failed before it had any
        (members()[:1], CONSENSUS.method, False),
        ((), CONSENSUS.method, False),  # the image could not be read
    ],
)
def test_report_for_a_consensus(tmp_path, of, method, belongs):
    made = reports.fused()
    made["detector"]["method"] = method
    report.write(made, tmp_path / "metrics_consensus.json")
    store = MetricsStore(Settings(hub=False), folder=tmp_path)
    found = store.report_for(Outcome("a.png", 1, 1, model=CONSENSUS.id, members=of))
    assert (found == made) if belongs else (found is None)


def test_records_wait_for_the_first_answer_and_are_json(hub, folder, settings):
    sha = hub.put(REPO, published(), "dataset")
    records = MetricsStore(settings, folder=folder).to_records()
    assert [(each["model"], each["source"], each["revision"]) for each in records] == [
        (FRCNN, "hub", sha),
        (YOLO, "hub", sha),
    ]
    assert json.loads(json.dumps(records)) == records


def test_many_at_once_ask_the_hub_once(hub, folder, settings):
    hub.put(REPO, published(), "dataset")
    release = threading.Event()
    hub.trouble(trouble.stall(100, release), on="GET .*frcnn")
    store = MetricsStore(settings, folder=folder)
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: sources(store), range(40)))
    assert seen == [{FRCNN: "packaged", YOLO: "packaged"}] * 40
    release.set()
    assert store.settled(WAIT)
    assert sum(request.startswith("GET ") and "frcnn" in request for request in hub.requests) == 1
    assert sources(store) == {FRCNN: "hub", YOLO: "hub"}
