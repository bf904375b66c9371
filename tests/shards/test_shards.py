"""Images to Parquet shards in one process: nothing lost, nothing twice, on from where it stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

import bonefx
from bonefx.errors import BoneFXError, RequestError, SourceError
from bonefx.settings import NOTICE, Settings
from bonefx.shards.places import Place
from bonefx.shards.plan import Plan
from bonefx.shards.rows import to_results
from bonefx.shards.run import run
from bonefx.shards.worker import ENDED, Worker
from tests.shards.conftest import BROKEN, GOOD, MODELS, THRESHOLD

pytestmark = pytest.mark.slow

ROOT = Path(bonefx.__file__).parents[1]


def make(source: Path | str, target: Path | str, **options: Any) -> dict[str, Any]:
    options = {"shard_images": 2, **options}
    return run(str(source), str(target), MODELS, THRESHOLD, Settings(hub=False), **options)


def results(target: Path) -> list[dict[str, Any]]:
    """What any reader of Parquet folders finds there."""
    return to_results(pyarrow.dataset.dataset(target).to_table())


def by_image_and_model(found: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    assert len({(each["image"], each["model"]) for each in found}) == len(found)
    return {(each["image"], each["model"]): {**each, "timings_ms": None} for each in found}


@pytest.fixture(scope="module")
def made(source, tmp_path_factory) -> tuple[Path, dict[str, Any], list[str]]:
    """A target, its summary, and the progress that was told."""
    target, told = tmp_path_factory.mktemp("made"), []
    return target, make(source, target, tell=told.append), told


def test_every_image_and_model_is_one_row_equal_to_its_result(made, expected):
    assert by_image_and_model(results(made[0])) == expected


def test_a_gpu_is_given_several_images_and_the_rows_are_those_of_one_by_one(source, tmp_path, monkeypatch):
    """On the processor, by torch, which takes one at a time there unless it is told otherwise."""
    from bonefx.detectors.engines import torch_engine

    given = []
    real = torch_engine.TorchEngine.together

    def together(self, several):
        given.append(len(several))
        return real(self, several)

    monkeypatch.setattr(torch_engine.TorchEngine, "together", together)
    settings, found = Settings(hub=False, runtime="torch"), []
    for size, target in ((1, tmp_path / "one"), (4, tmp_path / "four")):
        monkeypatch.setattr(torch_engine, "ON_CPU", size)
        run(str(source), str(target), MODELS, THRESHOLD, settings)
        found.append(by_image_and_model(results(target)))
    assert sorted(set(given)) == [1, 4]  # the broken one is among the four of the second batch
    one, four = found
    assert list(four) == list(one)
    for key, expected in one.items():
        assert without_detections(four[key]) == without_detections(expected)
        for mine, theirs in zip(four[key].get("detections", []), expected.get("detections", []), strict=True):
            assert mine["box"] == pytest.approx(theirs["box"], abs=1e-3)
            assert mine["score"] == pytest.approx(theirs["score"], abs=1e-4)
            assert mine["label"] == theirs["label"]


def without_detections(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != "detections"}


def test_the_summary_counts_the_rows_that_are_there(made):
    target, summary, told = made
    assert summary == json.loads((target / "_summary.json").read_text("utf-8"))
    assert summary["notice"] == NOTICE
    assert (summary["images"], summary["shards"]) == (6, 3)
    assert summary["rows"] == {"faster-rcnn": 6, "yolo": 6}
    assert summary["failed"] == {"faster-rcnn": 1, "yolo": 1}
    assert [each["source"] for each in summary["weights"]] == ["bundled", "bundled"]
    assert summary["this_run"]["images"] == 6
    assert told[-1].startswith("6 of 6 images, ")


def test_no_image_is_named_while_it_runs(made):
    assert not any(name in words for words in made[2] for name in (*GOOD, BROKEN))


def test_a_run_goes_on_with_what_is_missing(made, source, tmp_path, expected):
    target = tmp_path / "target"
    shards = sorted(path.name for path in made[0].glob("part-*"))
    target.mkdir()
    for name in ("_plan.json", "_plan.parquet", shards[0], shards[2]):
        (target / name).write_bytes((made[0] / name).read_bytes())
    (target / f"{shards[1]}.123.partial").write_bytes(b"half")  # a killed process leaves this
    before = {name: (target / name).stat().st_mtime_ns for name in (shards[0], shards[2])}
    summary = make(source, target)
    assert (summary["this_run"]["images"], summary["rows"]) == (2, {"faster-rcnn": 6, "yolo": 6})
    assert {name: (target / name).stat().st_mtime_ns for name in before} == before
    rows = [row for name in shards for row in to_results(pq.read_table(target / name))]
    assert by_image_and_model(rows) == expected
    assert make(source, target)["this_run"]["images"] == 0


def test_a_plan_of_something_else_is_not_gone_on_with(made, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(RequestError, match="holds the shards of another source"):
        make(tmp_path, made[0])


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nowhere", "There is no folder 'nowhere'"),
        ("unknown://bucket/folder", "cannot be opened"),
    ],
)
def test_a_source_that_is_not_there_is_said(address, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=message):
        make(address, tmp_path / "target")


def test_an_empty_source_is_said(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/notes.txt").write_text("")
    with pytest.raises(SourceError, match="no file that may be an image"):
        make(tmp_path / "in", tmp_path / "out")


def test_the_target_may_lie_in_the_source(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    target = Place(str(tmp_path / "out"))
    target.write("old.png", b"")
    plan = Plan.of(Place(str(tmp_path)), target, MODELS, THRESHOLD)
    assert [shard.images for shard in plan.missing()] == [[b"a.png"]]


def test_links_to_folders_are_not_followed(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"")
    (tmp_path / "in/circle").symlink_to(tmp_path / "in")
    assert list(Place(str(tmp_path / "in")).images()) == ["a.png"]


def test_many_files_make_the_same_plan_whoever_lists_them(tmp_path):
    for number in range(40):
        folder = tmp_path / "in" / str(number % 3)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(b"")
    plans = [
        list(Plan.of(Place(str(tmp_path / "in")), Place(str(tmp_path / out)), MODELS, 0.1, 7).missing())
        for out in ("one", "two")
    ]
    assert plans[0] == plans[1]
    assert [len(shard.images) for shard in plans[0]] == [7, 7, 7, 7, 7, 5]
    named = [name for shard in plans[0] for name in shard.images]
    assert named == sorted(named)
    assert len(set(named)) == 40


def test_names_need_not_be_text(source, tmp_path):
    """Archives of old systems have names in other encodings; those of folders too."""
    folder = os.fsencode(tmp_path) + b"/station \xe9"
    names = [b"bild\xff\xfe.png", b"two\nlines.png", b"'\" #%41?.png", b"w" * 200 + b".png"]
    os.mkdir(folder)
    for name in names:
        Path(os.fsdecode(folder + b"/" + name)).write_bytes((source / "a.png").read_bytes())
    summary = make(os.fsdecode(folder), tmp_path / "target")
    assert (summary["images"], set(summary["failed"].values())) == (4, {0})
    found = by_image_and_model(results(tmp_path / "target"))
    assert {image for image, _ in found} == {name.decode("utf-8", "backslashreplace") for name in names}
    assert len({json.dumps(each["detections"]) for (_, model), each in found.items() if model == "yolo"}) == 1
    assert make(os.fsdecode(folder), tmp_path / "target")["this_run"]["images"] == 0


def test_a_shard_that_cannot_be_written_ends_the_run_in_a_sentence(source, tmp_path):
    place = Place(str(tmp_path / "target"))
    plan = Plan.of(Place(str(source)), place, MODELS, THRESHOLD)
    (shard,) = plan.missing()
    (tmp_path / "target" / shard.name).mkdir()  # stands for any failure of the file system
    with pytest.raises(BoneFXError, match=f"{shard.name} could not be written to the target: Is a directory"):
        Worker(Place(str(source)), place, ["yolo"], THRESHOLD, Settings(hub=False)).make(shard)
    assert not list((tmp_path / "target").glob("*.partial"))


def test_any_file_system_of_fsspec_will_do(source):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe_file("/archive/ward/a.png", (source / "a.png").read_bytes())
    memory.pipe_file("/archive/empty.png", b"")
    summary = run(
        "memory://archive", "memory://made", ["yolo"], THRESHOLD, Settings(hub=False), shard_images=1
    )
    assert (summary["rows"], summary["failed"]) == ({"yolo": 2}, {"yolo": 1})
    names = [path for path in memory.ls("/made", detail=False) if "part-" in path]
    rows = [row for name in names for row in to_results(pq.read_table(memory.open(name)))]
    assert {row["image"]: "error" in row for row in rows} == {"empty.png": True, "ward/a.png": False}


ENDING_AT = """
import os, sys
from bonefx.__main__ import main
from bonefx.shards.worker import Worker

real = Worker._open

def end(self, name, folder):
    if name == sys.argv[3]:
        os._exit(9)  # as the kernel ends a process that takes too much memory
    return real(self, name, folder)

Worker._open = end
sys.exit(main(["detect", sys.argv[1], "--out", sys.argv[2], "--parquet", "--threshold", "0.05"]))
"""


def test_an_image_that_ends_the_process_is_passed_over_in_the_end(source, tmp_path, expected):
    command = [sys.executable, "-c", ENDING_AT, str(source), str(tmp_path), "b.png"]
    codes = []
    while not codes or codes[-1] == 9:
        assert len(codes) < 6
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "BONEFX_HUB": "off"}, check=False)
        codes.append(done.returncode)
    assert codes == [9, 9, 9, 1]  # the first did not know, two ended at the same image; one row is an error
    found = by_image_and_model(results(tmp_path))
    for model in MODELS:
        assert found.pop(("b.png", model))["error"] == ENDED
    assert found == {key: result for key, result in expected.items() if key[0] != "b.png"}
    assert not list(tmp_path.glob("*.note"))
