"""What an evaluation keeps: rows, ground truth, and the journal of a run that was stopped."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from bonefx.detections import Detections
from bonefx.errors import DatasetError
from bonefx.evaluation.dataset import Problem
from bonefx.evaluation.predictions import Predictions
from bonefx.evaluation.store import Journal, Store, read_ground_truth, read_results, to_rows
from tests.evaluation import toy

KEY = {"weights": "abc", "image_size": 384}
ENTRIES = [{"rows": [{"score": 0.1 * i}]} for i in range(3)]


def found(n: int, seed: int = 0) -> Detections:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 300, (n, 2))
    return Detections(
        np.hstack([corners, corners + rng.uniform(0, 90, (n, 2))]),
        rng.uniform(0.001, 1, n),
        rng.integers(0, 6, n),
        ("x",) * n,
    )


def test_rows_are_the_best_100_rounded():
    detections = found(300)
    rows = to_rows(7, detections)
    assert len(rows) == 100
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert {row["image_id"] for row in rows} == {7}
    assert [row["category_id"] - 1 for row in rows] == detections.class_ids[:100].tolist()
    x, y, width, height = np.array([row["bbox"] for row in rows]).T
    np.testing.assert_allclose(np.stack([x, y, x + width, y + height], 1), detections.boxes[:100], atol=0.011)
    assert max(len(json.dumps(row, separators=(",", ":"))) for row in rows) < 90  # files stay small
    assert len(Predictions.parse(rows, 7).scores) == 100  # nothing falls below the floor by rounding


def test_a_threshold_from_a_row_holds_for_the_detection_itself():
    detections = found(100, seed=1)
    for n, row in enumerate(to_rows(1, detections), 1):
        assert len(detections.above(row["score"])) >= n


def test_no_detection_is_no_row():
    assert to_rows(1, Detections.empty()) == []


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(
    ("spoil", "done"),
    [
        (lambda path: None, 3),  # stopped between two images
        (lambda path: write(path, path.read_bytes()[:-1]), 2),  # the last line lost its end
        (lambda path: write(path, path.read_bytes()[:-9]), 2),  # and more of it
        (lambda path: write(path, path.read_bytes()[:20]), 0),  # the key itself was torn
        (lambda path: write(path, b""), 0),
        (lambda path: write(path, path.read_bytes() + b"\0\0\0\n"), 3),  # a power cut
        (lambda path: write(path, path.read_bytes() + path.read_bytes().splitlines(True)[1]), 3),  # doubled
        (lambda path: write(path, b'{"weights":"other"}\n{"image_id":1}\n'), 0),  # another key
        (lambda path: path.unlink(), 0),
    ],
)
def test_a_journal_goes_on_where_it_was_stopped(tmp_path, spoil, done):
    path = tmp_path / "deep" / "yolo.journal"
    with Journal(path, KEY) as journal:
        for image_id, entry in enumerate(ENTRIES, 1):
            journal.append(image_id, entry)
    whole = path.read_bytes()
    spoil(path)
    with Journal(path, KEY) as journal:
        assert journal.done == done
        for image_id in range(done + 1, len(ENTRIES) + 1):
            journal.append(image_id, ENTRIES[image_id - 1])
    assert path.read_bytes() == whole
    assert list(journal.entries()) == [{"image_id": i, **entry} for i, entry in enumerate(ENTRIES, 1)]


def test_an_entry_is_on_disk_at_once(tmp_path):
    with Journal(tmp_path / "a", KEY) as journal:
        journal.append(1, ENTRIES[0])
        assert Journal(tmp_path / "a", KEY).done == 1


@pytest.mark.parametrize("rows", [[], to_rows(1, found(3))])
def test_predictions_are_a_list_that_its_run_vouches_for(tmp_path, rows):
    store = Store(tmp_path)
    assert store.run("yolo") is None
    store.write_run("yolo", iter(rows), KEY, {"id": "yolo"}, {})
    assert store.run("yolo").key == KEY
    assert read_results(store.predictions("yolo")) == rows
    assert len(store.predictions("yolo").read_text().splitlines()) == len(rows) + 2  # a row a line
    store.predictions("yolo").write_text("[]")
    assert store.run("yolo") is None  # not what the run wrote
    store.write_run("yolo", iter(rows), KEY, {"id": "yolo"}, {})
    store.files("yolo")[1].write_text("{")
    with pytest.raises(DatasetError, match=r"yolo.run.json is damaged: delete it"):
        store.run("yolo")


def test_ground_truth_comes_back_with_its_problems(tmp_path):
    problems = (Problem("a.txt", 3, "it has no area"), Problem("b.jpg", None, "it is cut off"))
    data = replace(toy.random_case(3)[0], problems=problems)
    store = Store(tmp_path / "deep")
    store.write_ground_truth(data)
    again = read_ground_truth(store.ground_truth)
    assert again.summary() == data.summary()
    assert again.problems == data.problems
    np.testing.assert_array_equal(again.bbox, data.bbox)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),  # nested too deep
        ("[]", "not ground truth that BoneFX wrote"),
        ('{"images": [], "annotations": []}', "not ground truth that BoneFX wrote"),  # COCO, but not ours
    ],
)
def test_a_file_that_is_no_ground_truth(tmp_path, content, message):
    path = tmp_path / "truth.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DatasetError, match=message):
        read_ground_truth(path)
