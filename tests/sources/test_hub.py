"""Where files come from, with the real Hub client against a Hub on loopback."""

from __future__ import annotations

import hashlib
import inspect
import os
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bonefx.errors import SourceError
from bonefx.settings import Settings
from bonefx.sources import hub as sources
from bonefx.sources.hub import (
    Progress,
    SourceProblem,
    WeightFile,
    WeightSources,
    fetch_metrics,
    local_weights,
    push,
)
from tests import hub_server as trouble
from tests import processes

REPO = "owner/bones"
METRICS = "owner/metrics"
ANSWER, SILENCE = 0.6, 0.8  # seconds, in place of 3 and 10
SLACK = 1.5  # a busy machine's; a client that tries again by itself would need far more
CONTENT = random.Random(0).randbytes(300_000)


@pytest.fixture
def settings(hub, tmp_path) -> Settings:
    return Settings(repo_id=REPO, endpoint=hub.url, weights_dir=tmp_path / "weights")


@pytest.fixture
def bundled(tmp_path) -> str:
    path = tmp_path / "demo.pt"
    path.write_bytes(b"demo")
    return str(path)


class Clock:
    """A clock that tests set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def impatient(settings: Settings) -> WeightSources:
    return WeightSources(settings, answer_seconds=ANSWER, silence_seconds=SILENCE)


def first(found) -> tuple[WeightFile, list[str]]:
    """The first weights, and the sentences before them."""
    reasons = []
    for candidate in found:
        if isinstance(candidate, WeightFile):
            return candidate, reasons
        reasons.append(candidate.reason)
    raise AssertionError(f"no weights: {reasons}")


def cache_files() -> list[Path]:
    from huggingface_hub import constants

    return [path for path in Path(constants.HF_HUB_CACHE).rglob("*") if path.is_file()]


def wait_for_downloads() -> None:
    """Until the threads of downloads that nobody waits for have ended."""
    for thread in threading.enumerate():
        if thread.name == "hub":
            thread.join(timeout=5)


# The order of the sources


def test_local_then_hub_then_bundled_each_looked_for_only_when_asked(hub, settings, bundled):
    sha = hub.put(REPO, {"best.pt": CONTENT})
    settings.weights_dir.mkdir()
    (settings.weights_dir / "best.pt").write_bytes(b"mine")
    found = WeightSources(settings).candidates("best.pt", bundled)

    local = next(found)
    assert local.described().to_record() == {
        "source": "local",
        "repo": None,
        "revision": None,
        "file": "best.pt",
        "sha256": hashlib.sha256(b"mine").hexdigest(),
    }
    assert hub.requests == []
    published = next(found)
    assert published.described().to_record() == {
        "source": "hub",
        "repo": REPO,
        "revision": sha,
        "file": "best.pt",
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }
    assert published.path.name == "best.pt"
    assert published.path.read_bytes() == CONTENT
    assert next(found).source == "bundled"
    assert list(found) == []


def test_a_missing_local_file_is_no_problem_and_a_missing_bundled_one_is(hub, settings):
    hub.put(REPO, {"best.pt": CONTENT})
    weights, reasons = first(WeightSources(settings).candidates("best.pt", "nothing.pt"))
    assert (weights.source, reasons) == ("hub", [])
    *_, last = WeightSources(settings).candidates("best.pt", "nothing.pt")
    assert isinstance(last, SourceProblem)
    assert "nothing.pt cannot be read: No such file" in last.reason


def test_an_absolute_path_is_a_local_file(settings, tmp_path, bundled):
    path = tmp_path / "elsewhere.pt"
    path.write_bytes(b"mine")
    weights, reasons = first(WeightSources(settings).candidates(str(path), bundled))
    assert (weights.source, weights.file, reasons) == ("local", "elsewhere.pt", [])


@pytest.mark.parametrize(
    ("beside", "config"),
    [
        ([], None),  # nothing beside it
        (["config.yaml"], "config.yaml"),  # Detectron2's own name
        (["model.yaml", "config.yaml"], "model.yaml"),  # the name of the weights comes first
        (["other.yaml"], None),  # belongs to something else
    ],
)
def test_the_config_beside_a_local_file(tmp_path, beside, config):
    for name in ("model.pth", *beside):
        (tmp_path / name).write_text(name)
    assert local_weights(tmp_path / "model.pth").config == (config and tmp_path / config)


@pytest.mark.parametrize(
    ("filename", "files", "config", "asked"),
    [
        ("model.pth", ["model.pth", "model.yaml"], "model.yaml", True),  # one beside it
        ("model.pth", ["model.pth"], None, True),  # none: the normal case
        ("sub/model.pth", ["sub/model.pth", "sub/model.yaml"], "model.yaml", True),  # in a folder
        ("best.pt", ["best.pt", "best.yaml"], None, False),  # YOLO files carry their settings
    ],
)
def test_the_config_beside_a_file_on_the_hub(hub, settings, bundled, filename, files, config, asked):
    hub.put(REPO, {name: name.encode() for name in files})
    with_config = filename.endswith(".pth")
    weights, reasons = first(WeightSources(settings).candidates(filename, bundled, with_config=with_config))
    assert (weights.source, reasons) == ("hub", [])
    assert (weights.config and weights.config.name) == config
    assert any(request.endswith(".yaml") for request in hub.requests) == asked


def test_a_config_that_cannot_be_read_is_a_failure_of_the_hub(hub, settings, bundled):
    hub.put(REPO, {"model.pth": CONTENT, "model.yaml": b"MODEL:"})
    hub.trouble(trouble.answer(500), on=".*yaml")
    weights, reasons = first(WeightSources(settings).candidates("model.pth", bundled, with_config=True))
    assert (weights.source, reasons) == ("bundled", ["The Hub has a fault of its own (500)."])


# A Hub that misbehaves


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (trouble.silence, "did not answer within 0.6 seconds"),  # accepts, says nothing
        (trouble.drip, "did not answer within 0.6 seconds"),  # each byte is in time, the whole is not
        (trouble.drop, "connection to the Hub broke off"),
        (trouble.redirect_to_itself, "redirects without end"),
        (trouble.web_page, "is no Hub: check HF_ENDPOINT"),  # a Wi-Fi portal, a proxy's page
        (trouble.answer(401), "does not allow to read owner/bones (401): set HF_TOKEN"),
        (trouble.answer(401, "RepoNotFound"), "owner/bones was not found on the Hub, or is private"),
        (trouble.answer(403), "does not allow to read owner/bones (403): set HF_TOKEN"),
        (trouble.answer(403, "GatedRepo"), "owner/bones is gated: accept its conditions"),
        (trouble.answer(404), "owner/bones has no file best.pt"),  # a mirror without error codes
        (trouble.answer(404, "EntryNotFound"), "owner/bones has no file best.pt"),
        (trouble.answer(404, "RepoNotFound"), "owner/bones was not found on the Hub, or is private"),
        (trouble.answer(404, "RevisionNotFound"), "owner/bones has no revision main"),
        (trouble.answer(418), "answered with status 418"),
        (trouble.answer(429), "too many requests from here (429)"),
        (trouble.answer(500), "a fault of its own (500)"),
        (trouble.answer(503), "a fault of its own (503)"),
    ],
)
def test_a_question_that_fails_is_said_in_words_at_once(hub, settings, bundled, behaviour, words):
    hub.put(REPO, {"best.pt": CONTENT})
    hub.trouble(behaviour, on="HEAD")
    started = time.monotonic()
    weights, reasons = first(impatient(settings).candidates("best.pt", bundled))
    assert time.monotonic() - started < ANSWER + SLACK
    assert weights.source == "bundled"
    assert len(reasons) == 1
    assert words in reasons[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (trouble.silence, "stood still for 0.8 seconds"),
        (trouble.drip, "stood still for 0.8 seconds"),
        (trouble.stall(after=100_000), "stood still for 0.8 seconds"),
        (trouble.drop, "connection to the Hub broke off"),
        (trouble.cut(after=100_000), "connection to the Hub broke off"),
        (trouble.shorten(100_000), "sent only a part of best.pt"),  # less than was announced
        (trouble.answer(403), "does not allow to read owner/bones (403)"),
        (trouble.answer(429), "too many requests from here (429)"),
        (trouble.answer(500), "a fault of its own (500)"),
    ],
)
def test_a_download_that_fails_leaves_nothing_behind(hub, settings, bundled, behaviour, words):
    hub.put(REPO, {"best.pt": CONTENT})
    hub.trouble(behaviour, on="GET")
    sources = impatient(settings)
    started = time.monotonic()
    weights, reasons = first(sources.candidates("best.pt", bundled))
    assert time.monotonic() - started < SILENCE + SLACK
    assert weights.source == "bundled"
    assert len(reasons) == 1
    assert words in reasons[0]

    # The Hub is well again: the whole file arrives at once, even while the old download still hangs.
    hub.recover()
    sources.check_again()
    weights, reasons = first(sources.candidates("best.pt", bundled))
    assert (weights.source, reasons) == ("hub", [])
    assert weights.path.read_bytes() == CONTENT


@pytest.mark.slow
def test_a_download_given_up_never_reaches_the_cache(hub, settings, bundled):
    hub.put(REPO, {"best.pt": CONTENT})
    release = threading.Event()
    hub.trouble(trouble.stall(100_000, release), on="GET")
    weights, _ = first(impatient(settings).candidates("best.pt", bundled))
    assert weights.source == "bundled"
    release.set()  # now the rest comes after all
    wait_for_downloads()
    assert cache_files() == []


def refuse_connections(hub, settings, tmp_path):
    hub.close()
    return {}


def fill_the_cache_path(hub, settings, tmp_path):
    (tmp_path / "hub-cache").write_text("a file where the folder should be")
    return {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"endpoint": "https://hub.example"}, "host of https://hub.example was not found"),
        ({"endpoint": "hub.example"}, "'hub.example' is no address of a Hub: check HF_ENDPOINT"),
        ({"endpoint": "ftp://hub.example"}, "is no address of a Hub: check HF_ENDPOINT"),
        ({"endpoint": "http://[::1"}, "is no address of a Hub: check HF_ENDPOINT"),
        ({"repo_id": "not a repo"}, "'not a repo' is no repository id of the Hub"),
        ({"repo_id": "a/b/c"}, "'a/b/c' is no repository id of the Hub"),
        ({"repo_id": "owner/other"}, "owner/other was not found on the Hub, or is private"),
        ({"revision": "v9"}, "owner/bones has no revision v9: check BONEFX_REVISION"),
        ({"token": "hf_wrong"}, "does not accept the token (401): check HF_TOKEN"),
        ({"token": "hf_öäü"}, "token has characters that no token has"),
        ({"token": "hf_two\nlines"}, "token has characters that no token has"),
        ({"hub": False}, "The Hub is switched off (BONEFX_HUB=off"),
        (refuse_connections, "No connection to http://127.0.0.1"),
        (fill_the_cache_path, "cache on this machine cannot be used: Not a directory"),
    ],
)
def test_settings_and_machines_that_cannot_work(hub, settings, bundled, tmp_path, change, words):
    hub.put(REPO, {"best.pt": CONTENT})
    changes = change(hub, settings, tmp_path) if callable(change) else change
    settings = Settings(**{**vars(settings), **changes})
    weights, reasons = first(WeightSources(settings).candidates("best.pt", bundled))
    assert weights.source == "bundled"
    assert len(reasons) == 1
    assert words in reasons[0]
    assert settings.token is None or settings.token not in reasons[0]


def test_a_disk_that_is_full(hub, settings, bundled, tmp_path):
    # /dev/full answers every write with "no space left on device".
    blobs = tmp_path / "hub-cache" / "models--owner--bones" / "blobs"
    blobs.mkdir(parents=True)
    hub.put(REPO, {"best.pt": CONTENT})
    opened = Path.open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Path,
            "open",
            lambda path, *mode: opened(Path("/dev/full") if path.suffix == ".incomplete" else path, *mode),
        )
        _, reasons = first(WeightSources(settings).candidates("best.pt", bundled))
    assert reasons == ["There is no room left on the disk for best.pt."]


def test_the_real_hub_is_out_of_reach_of_tests():
    with pytest.raises(socket.gaierror):
        socket.create_connection(("huggingface.co", 443))


# Patience


def test_what_a_caller_gets_without_asking_for_other_times():
    assert (sources.ANSWER_SECONDS, sources.SILENCE_SECONDS) == (3.0, 10.0)
    defaults = {name: p.default for name, p in inspect.signature(WeightSources).parameters.items()}
    assert (defaults["answer_seconds"], defaults["silence_seconds"]) == (3.0, 10.0)
    assert 120 <= defaults["retry_after"] <= 900


@pytest.mark.slow
def test_a_slow_download_that_moves_goes_on_and_is_reported(hub, settings, bundled):
    hub.put(REPO, {"best.pt": CONTENT})
    hub.trouble(trouble.trickle(size=30_000, pause=0.2), on="GET")  # 2 s in all
    seen: list[Progress] = []
    weights, reasons = first(impatient(settings).candidates("best.pt", bundled, seen.append))
    assert (weights.source, reasons) == ("hub", [])
    assert seen[0] == Progress("checking the Hub")
    assert {progress.stage for progress in seen[1:]} == {"downloading"}
    assert {progress.total for progress in seen[1:]} == {len(CONTENT)}
    done = [progress.done for progress in seen[1:]]
    assert done == sorted(done)
    assert done[-1] == len(CONTENT)
    assert len(set(done)) >= 5


def test_who_shows_progress_can_cancel(hub, settings, bundled):
    hub.put(REPO, {"best.pt": CONTENT})
    hub.trouble(trouble.trickle(size=30_000, pause=0.05), on="GET")
    weights = WeightSources(settings)

    def cancel(progress: Progress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(weights.candidates("best.pt", bundled, cancel))
    wait_for_downloads()
    assert cache_files() == []
    hub.recover()
    assert first(weights.candidates("best.pt", bundled))[1] == []  # not taken for the Hub's failure


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (Progress("checking the Hub"), "checking the Hub"),
        (Progress("loading"), "loading"),
        (Progress("downloading", 43_400_000, 166_000_000), "downloading 43 of 166 MB"),
        (Progress("downloading", 0, 5_300_000), "downloading 0 of 5 MB"),
        (Progress("downloading", 43_400_000), "downloading 43 MB"),  # a Hub that tells no size
        (Progress("downloading", 2_000, 7_000), "downloading 2 of 7 kB"),
    ],
)
def test_progress_in_words(progress, text):
    assert progress.text() == text


def test_eight_at_once_all_get_the_whole_file(hub, settings, bundled):
    hub.put(REPO, {"model.pth": CONTENT, "model.yaml": b"MODEL:"})
    weights = WeightSources(settings)
    with ThreadPoolExecutor(8) as pool:
        asked = [weights.candidates("model.pth", bundled, with_config=True) for _ in range(8)]
        found = list(pool.map(first, asked))
    assert {(w.source, w.path.read_bytes() == CONTENT, w.config.name) for w, _ in found} == {
        ("hub", True, "model.yaml")
    }


# What is remembered


def test_a_failure_is_remembered_for_that_file_then_tried_again(hub, settings, bundled):
    hub.put(REPO, {"best.pt": CONTENT, "model.pth": CONTENT})
    hub.trouble(trouble.answer(503), on=".*best.pt")
    clock = Clock()
    weights = WeightSources(settings, retry_after=300, clock=clock)
    reason = ["The Hub has a fault of its own (503)."]

    assert first(weights.candidates("best.pt", bundled))[1] == reason
    asked = len(hub.requests)
    clock.now += 299
    assert not weights.due("best.pt")
    assert first(weights.candidates("best.pt", bundled))[1] == reason
    assert len(hub.requests) == asked
    assert first(weights.candidates("model.pth", bundled, with_config=True))[0].source == "hub"

    clock.now += 1
    assert weights.due("best.pt")
    assert not weights.due("model.pth")
    assert first(weights.candidates("best.pt", bundled))[1] == reason
    assert not weights.due("best.pt")  # failed again: another five minutes
    hub.recover()
    clock.now += 300
    assert first(weights.candidates("best.pt", bundled))[0].source == "hub"
    assert not weights.due("best.pt")


def test_check_again_does_not_wait(hub, settings, bundled):
    hub.put(REPO, {"best.pt": CONTENT})
    hub.trouble(trouble.answer(503))
    weights = WeightSources(settings)
    first(weights.candidates("best.pt", bundled))
    hub.recover()
    assert not weights.due("best.pt")
    weights.check_again()
    assert weights.due("best.pt")
    assert first(weights.candidates("best.pt", bundled))[0].source == "hub"


def test_a_candidate_that_is_no_checkpoint_is_passed_over_until_it_is_due(hub, settings, bundled):
    hub.put(REPO, {"best.pt": b"a web page, say"})
    settings.weights_dir.mkdir()
    (settings.weights_dir / "best.pt").write_bytes(b"not one either")
    weights = WeightSources(settings)
    sentences = []
    for found in weights.candidates("best.pt", bundled):
        if found.source != "bundled":
            sentences.append(weights.reject("best.pt", found, "it is no checkpoint.").reason)
    assert sentences == [
        "best.pt (local) is not used: it is no checkpoint.",
        "best.pt (hub) is not used: it is no checkpoint.",
    ]
    asked = len(hub.requests)
    found, reasons = first(weights.candidates("best.pt", bundled))
    assert (found.source, reasons, len(hub.requests)) == ("bundled", sentences, asked)
    weights.check_again()
    assert next(weights.candidates("best.pt", bundled)).source == "local"


# The cache


def test_a_pinned_commit_in_the_cache_asks_nothing(hub, settings, bundled):
    sha = hub.put(REPO, {"model.pth": CONTENT, "model.yaml": b"MODEL:"})
    hub.put(REPO, {"model.pth": b"newer"})
    settings = Settings(**{**vars(settings), "revision": sha})
    first(WeightSources(settings).candidates("model.pth", bundled, with_config=True))
    hub.requests.clear()
    weights, reasons = first(WeightSources(settings).candidates("model.pth", bundled, with_config=True))
    assert (weights.revision, weights.config.name, reasons) == (sha, "model.yaml", [])
    assert weights.path.read_bytes() == CONTENT
    assert hub.requests == []


def test_a_new_commit_is_noticed_and_an_unchanged_file_not_read_again(hub, settings, bundled):
    hub.put(REPO, {"best.pt": CONTENT})
    old, _ = first(WeightSources(settings).candidates("best.pt", bundled))
    sha = hub.put(REPO, {"README.md": b"words"})
    hub.requests.clear()
    same, _ = first(WeightSources(settings).candidates("best.pt", bundled))
    assert (same.revision, same.sha256) == (sha, old.sha256)
    assert not any(request.startswith("GET") for request in hub.requests)
    hub.put(REPO, {"best.pt": b"better"})
    new, _ = first(WeightSources(settings).candidates("best.pt", bundled))
    assert new.path.read_bytes() == b"better"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mishap", "source", "words"),
    [
        (lambda hub: hub.close(), "hub", "No connection to"),
        (lambda hub: hub.trouble(trouble.silence), "hub", "did not answer within 0.6 seconds"),
        (lambda hub: hub.trouble(trouble.answer(429)), "hub", "too many requests"),
        # A newer file stalls: the older one is still the published model.
        (
            lambda hub: (hub.put(REPO, {"best.pt": CONTENT[::-1]}), hub.trouble(trouble.stall(9), "GET")),
            "hub",
            "stood still for 0.8 seconds",
        ),
        # The file was taken away: what is in the cache is not what the settings name.
        (lambda hub: hub.trouble(trouble.answer(404, "EntryNotFound")), "bundled", "has no file best.pt"),
    ],
)
def test_the_cache_stands_in_for_a_hub_that_fails(hub, settings, bundled, mishap, source, words):
    sha = hub.put(REPO, {"best.pt": CONTENT})
    first(impatient(settings).candidates("best.pt", bundled))
    mishap(hub)
    weights = impatient(settings)
    for _ in range(2):  # the second time from memory
        found, reasons = first(weights.candidates("best.pt", bundled))
        assert found.source == source
        assert len(reasons) == 1
        assert words in reasons[0]
        if source == "hub":
            assert found.revision == sha
            assert found.path.read_bytes() == CONTENT
            assert reasons[0].endswith("The copy in this machine's cache is used.")
    weights.check_again()
    assert weights.due("best.pt")  # so that a newer one is found as soon as the Hub answers


def test_switched_off_takes_what_the_cache_has_and_asks_nothing(hub, settings, bundled):
    hub.put(REPO, {"best.pt": CONTENT})
    first(WeightSources(settings).candidates("best.pt", bundled))
    hub.requests.clear()
    off = WeightSources(Settings(**{**vars(settings), "hub": False}))
    weights, reasons = first(off.candidates("best.pt", bundled))
    assert weights.source == "hub"
    assert "switched off" in reasons[0]
    assert not off.due("best.pt")
    assert hub.requests == []


# What a server says is not taken on trust


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": '"../../../../escaped"'},
        {"ETag": '"/tmp/escaped"'},
        {"ETag": '"..\\..\\escaped"'},
        {"ETag": '"escaped"'},
        {"ETag": '""'},
        {"ETag": '"' + "a" * 300 + '"'},
        {"ETag": '"' + "a" * 39 + '"'},
        {"ETag": '"' + "a" * 41 + '"'},
        {"ETag": '"' + "A" * 40 + '"'},  # the Hub's are small; one file must not have two names
        {"ETag": '"' + "g" * 40 + '"'},
        {"ETag": '"' + "a" * 39 + "\0" + '"'},
        {"ETag": '"' + "ª" * 40 + '"'},
        {"X_Repo_Commit": "../../../../escaped"},
        {"X_Repo_Commit": "main"},
        {"X_Repo_Commit": "a" * 300},
        {"X_Linked_Etag": '"../../escaped"'},
    ],
)
def test_no_text_from_a_server_names_a_file_unchecked(hub, settings, bundled, tmp_path, headers):
    hub.put(REPO, {"best.pt": CONTENT})
    hub.trouble(trouble.announce(**headers), on="HEAD")
    before = {path for path in tmp_path.rglob("*") if path.name != "hub-cache"}
    weights, (reason,) = first(impatient(settings).candidates("best.pt", bundled))
    assert weights.source == "bundled"
    assert "is no Hub: check HF_ENDPOINT" in reason or "broke off" in reason
    assert len(reason) < 300
    assert {path for path in tmp_path.rglob("*") if path.name != "hub-cache"} == before
    assert not any(request.startswith("GET") for request in hub.requests)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("content", [CONTENT[::-1], CONTENT[:-1] + b"\0", CONTENT + b"x", b""])
def test_a_file_with_another_content_than_was_announced_is_not_kept(hub, settings, bundled, large, content):
    hub.put(REPO, {"best.pt": CONTENT})
    hub.large = large
    hub.trouble(trouble.replaced(content), on="GET")
    weights, (reason,) = first(impatient(settings).candidates("best.pt", bundled))
    assert weights.source == "bundled"
    assert reason in (
        "What the Hub sent is not the file that it announced.",
        "The Hub sent only a part of best.pt.",
    )
    assert cache_files() == []


@pytest.mark.parametrize(
    ("on", "behaviour"),
    [
        ("HEAD", trouble.announce(Content_Length="2000000001")),
        ("HEAD", trouble.announce(X_Linked_Size="9" * 400)),
    ],
)
def test_a_file_that_is_too_large_is_not_asked_for(hub, settings, bundled, on, behaviour):
    hub.put(REPO, {"best.pt": CONTENT})
    hub.trouble(behaviour, on=on)
    weights, (reason,) = first(impatient(settings).candidates("best.pt", bundled))
    assert (weights.source, reason) == (
        "bundled",
        "best.pt on the Hub is too large: at most 2,000 MB are read.",
    )
    assert not any(request.startswith("GET") for request in hub.requests)


def test_a_file_that_grows_too_large_on_its_way_is_given_up(hub, settings, bundled, monkeypatch):
    monkeypatch.setattr(sources, "MAX_WEIGHTS_BYTES", 200_000)
    hub.put(REPO, {"best.pt": CONTENT})
    hub.trouble(trouble.announce(Content_Length="1000"), on="HEAD")
    weights, (reason,) = first(WeightSources(settings).candidates("best.pt", bundled))
    assert weights.source == "bundled"
    assert "best.pt on the Hub is too large" in reason
    assert cache_files() == []


@pytest.mark.parametrize(
    ("changes", "filename"),
    [
        ({}, "../best.pt"),
        ({}, "a/../../best.pt"),
        ({"revision": "../../escaped"}, "best.pt"),
        ({"revision": "/escaped"}, "best.pt"),
    ],
)
def test_a_name_in_the_settings_does_not_lead_out_of_the_cache(
    hub, settings, bundled, tmp_path, changes, filename
):
    hub.put(REPO, {"best.pt": CONTENT})
    hub.trouble(trouble.announce(), on="HEAD")
    settings = Settings(**{**vars(settings), **changes})
    weights, reasons = first(impatient(settings).candidates(filename, bundled))
    assert weights.source == "bundled"
    assert reasons
    assert not list(tmp_path.rglob("escaped"))


# A cache that went bad


def blob_of(weights: WeightFile) -> Path:
    return weights.path.resolve()


def damage(blob: Path) -> None:
    """As many bytes, one of them another."""
    content = bytearray(blob.read_bytes())
    content[1000] ^= 1
    blob.write_bytes(content)


def shorten(blob: Path) -> None:
    os.truncate(blob, 1000)


def empty(blob: Path) -> None:
    os.truncate(blob, 0)


def remove(blob: Path) -> None:
    blob.unlink()


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("mishap", [damage, shorten, empty, remove])
def test_a_damaged_file_in_the_cache_is_fetched_again(hub, settings, bundled, mishap, pinned, large):
    sha = hub.put(REPO, {"best.pt": CONTENT})
    hub.large = large
    settings = Settings(**{**vars(settings), "revision": sha if pinned else None})
    weights, _ = first(WeightSources(settings).candidates("best.pt", bundled))
    mishap(blob_of(weights))
    again, reasons = first(WeightSources(settings).candidates("best.pt", bundled))
    assert (again.source, reasons) == ("hub", [])
    assert again.path.read_bytes() == CONTENT
    assert again.sha256 == hashlib.sha256(CONTENT).hexdigest()


def test_a_damaged_file_does_not_stand_in_for_a_hub_that_fails(hub, settings, bundled):
    hub.put(REPO, {"best.pt": CONTENT})
    weights, _ = first(WeightSources(settings).candidates("best.pt", bundled))
    damage(blob_of(weights))
    hub.trouble(trouble.answer(503))
    again, reasons = first(WeightSources(settings).candidates("best.pt", bundled))
    assert (again.source, reasons) == ("bundled", ["The Hub has a fault of its own (503)."])
    assert not blob_of(weights).exists()


@pytest.mark.parametrize("reachable", [True, False])
def test_weights_whose_settings_are_damaged_are_not_used_without_them(hub, settings, bundled, reachable):
    hub.put(REPO, {"model.pth": CONTENT, "model.yaml": b"MODEL:\n" * 1000})
    weights, _ = first(WeightSources(settings).candidates("model.pth", bundled, with_config=True))
    damage(weights.config.resolve())
    if not reachable:
        hub.close()
    for _ in range(2):
        again, _ = first(WeightSources(settings).candidates("model.pth", bundled, with_config=True))
        assert again.source == ("hub" if reachable else "bundled")
        assert (again.config is not None) == reachable


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("mishap", [make_pipe, make_folder, make_device])
@pytest.mark.parametrize("reachable", [True, False])
def test_what_is_no_file_in_the_cache_is_that_sources_problem(hub, settings, bundled, mishap, reachable):
    hub.put(REPO, {"best.pt": CONTENT})
    weights, _ = first(WeightSources(settings).candidates("best.pt", bundled))
    mishap(blob_of(weights))
    if not reachable:
        hub.close()
    started = time.monotonic()
    again, reasons = first(impatient(settings).candidates("best.pt", bundled))
    assert time.monotonic() - started < ANSWER + SLACK
    assert again.source == "bundled"
    assert len(reasons) == 1


def test_a_damaged_name_of_a_commit_in_the_cache_is_said_as_such(hub, settings, bundled):
    hub.put(REPO, {"best.pt": CONTENT})
    weights, _ = first(WeightSources(settings).candidates("best.pt", bundled))
    (weights.path.parents[2] / "refs" / "main").write_bytes(b"\xff\xfe\0")
    off = WeightSources(Settings(**{**vars(settings), "hub": False}))
    again, reasons = first(off.candidates("best.pt", bundled))
    assert again.source == "bundled"
    assert reasons == ["The Hub's cache on this machine cannot be used: it is damaged."]
    again, reasons = first(WeightSources(settings).candidates("best.pt", bundled))
    assert (again.source, reasons) == ("hub", [])


@pytest.mark.slow
def test_an_unreadable_cache_is_a_problem_of_that_source(hub, settings, bundled, tmp_path, monkeypatch):
    hub.put(REPO, {"best.pt": CONTENT})
    first(WeightSources(settings).candidates("best.pt", bundled))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    code = (
        "from bonefx.sources.hub import WeightSources; from bonefx.settings import Settings; "
        "from pathlib import Path; "
        f"settings = Settings(repo_id={REPO!r}, endpoint={hub.url!r}, weights_dir=Path('nowhere')); "
        f"found = WeightSources(settings).candidates('best.pt', {bundled!r}); "
        "print([getattr(each, 'reason', each.source) for each in found])"
    )
    for folder in ("blobs", "snapshots", "refs", ""):
        with processes.unreadable(tmp_path / "hub-cache" / "models--owner--bones" / folder):
            said = processes.without_root_rights("-c", code)
        assert said.stderr == ""
        assert "The Hub's cache on this machine cannot be used: Permission denied." in said.stdout
        assert "'bundled'" in said.stdout


def test_what_a_killed_download_left_is_removed_by_the_next(hub, settings, bundled):
    hub.put(REPO, {"best.pt": CONTENT})
    weights, _ = first(WeightSources(settings).candidates("best.pt", bundled))
    blob = blob_of(weights)
    blob.unlink()
    old, new = blob.with_name(f"{blob.name}.1.incomplete"), blob.with_name(f"{blob.name}.2.incomplete")
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    first(WeightSources(settings).candidates("best.pt", bundled))
    assert not old.exists()
    assert new.exists()  # another process may be writing it


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkfifo, "is no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is no regular file"),
        (lambda path: path.symlink_to("nothing"), "cannot be read: No such file"),
        (lambda path: path.symlink_to(path.name), "cannot be read: Too many levels"),
        (Path.mkdir, "is no regular file"),
        (lambda path: path.touch() or os.truncate(path, 3 * 10**9), "is too large: at most 2,000 MB"),
    ],
)
def test_what_is_no_file_in_the_weights_folder_means_the_next_source(hub, settings, bundled, make, words):
    hub.put(REPO, {"best.pt": CONTENT})
    settings.weights_dir.mkdir()
    make(settings.weights_dir / "best.pt")
    weights, (reason,) = first(WeightSources(settings).candidates("best.pt", bundled))
    assert weights.source == "hub"
    assert words in reason


def test_a_config_that_cannot_be_read_does_not_pass_for_none(tmp_path):
    (tmp_path / "model.pth").touch()
    os.mkfifo(tmp_path / "model.yaml")
    assert local_weights(tmp_path / "model.pth").config == tmp_path / "model.yaml"


# Tokens


def test_a_private_repository_opens_to_its_token_which_no_other_host_sees(hub, settings, bundled):
    hub.put(REPO, {"best.pt": CONTENT}, private=True)
    hub.cdn = True
    assert first(WeightSources(settings).candidates("best.pt", bundled))[0].source == "bundled"
    hub.authorizations.clear()
    settings = Settings(**{**vars(settings), "token": trouble.READER})
    assert first(WeightSources(settings).candidates("best.pt", bundled))[0].source == "hub"
    sent = {(path.startswith("/cdn"), header) for path, header in hub.authorizations}
    assert sent == {(False, f"Bearer {trouble.READER}"), (True, None)}


# Metrics


@pytest.fixture
def metrics_settings(hub) -> Settings:
    return Settings(
        metrics_repo_id=METRICS, metrics_repo_type="dataset", endpoint=hub.url, token=trouble.WRITER
    )


def test_metrics_that_arrive_while_the_app_runs(hub, metrics_settings):
    old = hub.put(METRICS, {"metrics_yolo.json": b"1"}, "dataset")
    file = fetch_metrics(metrics_settings, "metrics_yolo.json")
    assert (file.path.read_bytes(), file.revision, file.repo, file.note) == (b"1", old, METRICS, None)
    new = hub.put(METRICS, {"metrics_yolo.json": b"2"}, "dataset")
    file = fetch_metrics(metrics_settings, "metrics_yolo.json")
    assert (file.path.read_bytes(), file.revision) == (b"2", new)
    hub.close()
    file = fetch_metrics(metrics_settings, "metrics_yolo.json")
    assert (file.path.read_bytes(), file.revision) == (b"2", new)
    assert "No connection to" in file.note


@pytest.mark.parametrize("how", ["announced", "sent", "cached"])
def test_metrics_over_ten_megabytes_are_not_read(hub, metrics_settings, how):
    hub.put(METRICS, {"metrics_yolo.json": b" " * 10_000_001}, "dataset")
    if how == "sent":
        hub.trouble(trouble.announce(Content_Length="5"), on="HEAD")
    if how == "cached":
        sources._metrics_repo(metrics_settings).fetch("metrics_yolo.json", 10**9)
    with pytest.raises(SourceError, match="is too large: at most 10 MB"):
        fetch_metrics(metrics_settings, "metrics_yolo.json")


@pytest.mark.slow
def test_no_metrics_within_three_seconds(hub, metrics_settings):
    hub.trouble(trouble.drip)
    started = time.monotonic()
    with pytest.raises(SourceError, match="The Hub did not answer within 3 seconds"):
        fetch_metrics(metrics_settings, "metrics_yolo.json")
    assert 2.9 < time.monotonic() - started < 3.6


def test_metrics_from_a_hub_that_is_switched_off(hub, metrics_settings):
    with pytest.raises(SourceError, match="switched off"):
        fetch_metrics(Settings(**{**vars(metrics_settings), "hub": False}), "metrics_yolo.json")
    assert hub.requests == []


@pytest.mark.slow
def test_push_makes_the_repository_then_adds_what_changed_then_nothing(hub, metrics_settings, tmp_path):
    predictions = tmp_path / "predictions.json"
    predictions.write_text("[]")
    files = {"README.md": b"---\nlicense: mit\n---\n# Metrics\n", "predictions/yolo.json": predictions}

    pushed = push(metrics_settings, files, "Metrics of both models")
    repo = hub.repos["dataset", METRICS]
    assert pushed.changed
    assert pushed.revision == repo.head
    assert pushed.url == f"{hub.url}/datasets/{METRICS}/commit/{repo.head}"
    assert repo.commits[repo.head]["predictions/yolo.json"] == b"[]"
    assert repo.commits[repo.head]["README.md"] == files["README.md"]

    changed = push(metrics_settings, {**files, "metrics_yolo.json": b"{}"}, "One more")
    assert changed.changed
    assert changed.revision != pushed.revision
    assert len(repo.commits) == 3  # the Hub's own first one, and one for each push

    again = push(metrics_settings, {**files, "metrics_yolo.json": b"{}"}, "The same")
    assert again == type(again)(changed.url, changed.revision, changed=False)
    assert len(repo.commits) == 3
    assert fetch_metrics(metrics_settings, "metrics_yolo.json").revision == changed.revision


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "on", "behaviour", "words"),
    [
        ({"token": None}, None, None, "needs a token that may write to owner/metrics: set HF_TOKEN"),
        ({"token": "hf_wrong"}, None, None, "does not accept the token"),
        ({"token": trouble.READER}, None, None, "does not allow to write to owner/metrics (403)"),
        ({"hub": False}, None, None, "switched off"),
        ({"metrics_repo_id": "not a repo"}, None, None, "is no repository id of the Hub"),
        ({"endpoint": "https://hub.example"}, None, None, "was not found"),
        ({}, "POST /api/repos/create", trouble.drop, "broke off"),
        ({}, ".*commit", trouble.drop, "broke off"),
        ({}, ".*commit", trouble.silence, "did not confirm the commit within 0.5 seconds"),
        ({}, ".*commit", trouble.answer(500), "a fault of its own (500)"),
    ],
)
def test_a_push_that_fails(hub, metrics_settings, changes, on, behaviour, words):
    if on:
        hub.trouble(behaviour, on=on)
    settings = Settings(**{**vars(metrics_settings), **changes})
    with pytest.raises(SourceError) as caught:
        push(settings, {"metrics_yolo.json": b"{}"}, "Metrics", seconds=0.5)
    assert words in str(caught.value)


def test_a_push_to_an_existing_repository_without_permission(hub, metrics_settings):
    hub.put(METRICS, {"metrics_yolo.json": b"1"}, "dataset")
    settings = Settings(**{**vars(metrics_settings), "token": trouble.READER})
    with pytest.raises(SourceError, match="does not allow to write to owner/metrics"):
        push(settings, {"metrics_yolo.json": b"2"}, "Metrics")
    assert len(hub.repos["dataset", METRICS].commits) == 1
