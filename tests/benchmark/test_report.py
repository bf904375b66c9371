"""The figures in words: what a person reads from them."""

from __future__ import annotations

import json

import pytest

from bonefx.benchmark import report
from bonefx.errors import BoneFXError
from tests.benchmark.toy import measured


@pytest.mark.parametrize("render", [report.as_text, report.as_markdown])
@pytest.mark.parametrize(
    "words",
    [
        "Faster R-CNN: 0.38 (0.37 to 0.39) of the reference, openvino 2026.4.1 bfloat16",
        "YOLO: 0.38 (0.37 to 0.39) of the reference, 0.72 (0.71 to 0.73) of it with all threads, openvino",
        "A Processor 9000, 2 cores, 2 threads; python 3.11.7, torch 2.11.0",
        "2026-11-23 by `python -m bonefx benchmark`",
        "The bundled weights (faster-rcnn.weights at 384 px, yolo.weights at 384 px), 16 images in 5 rounds",
        "that it takes by itself: Faster R-CNN in torch 2.11.0 float32 with 2 threads, YOLO in "
        "torch 2.11.0 float32 with 1 thread",
        "reference 700 (800), ours – (900)",  # not every system tells what is resident
        "reference 3.2 (3.1 to 3.3), ours 2.0; conversion, once on a machine, 17",
        "YOLO 1.04",
        "100.0 (95.0 to 105.0)",
    ],
)
def test_a_person_reads_it_from_the_text_and_from_the_readme(render, words):
    assert words in render(measured())


def test_random_weights_are_named():
    assert "The published architectures with random weights" in report.as_text(measured(full_size=True))


def test_a_runtime_that_changed_on_the_way_is_said():
    made = measured()
    made["models"][1]["ours"]["runtimes"].append({"engine": "torch 2.11.0", "precision": "float32"})
    assert report.headlines(made)[1].endswith("openvino 2026.4.1 bfloat16 and torch 2.11.0 float32")


def test_columns_are_aligned_and_fit_a_terminal():
    blocks = report.as_text(measured()).split("\n\n")
    aligned = [block.splitlines()[1:] for block in blocks if block.startswith("Milliseconds")]
    assert len(aligned) == 3
    for lines in aligned:
        assert len({len(line) for line in lines}) == 1
        assert len(lines[0]) <= 190


def test_every_markdown_table_has_cells_for_its_head():
    lines = report.as_markdown(measured()).splitlines()
    counts = [line.count("|") for line in lines]
    tables = [set(run.split()) for run in " ".join(map(str, counts)).split(" 0 ")]
    assert all(len(widths - {"0"}) <= 1 for widths in tables)
    assert sum(set(line) <= set("|- ") and "|" in line for line in lines) == 3


def test_a_file_gives_back_what_was_written(tmp_path):
    report.write(measured(), tmp_path / "docs/benchmark.json")
    assert report.read(tmp_path / "docs/benchmark.json") == measured()


@pytest.mark.parametrize(
    "content",
    [
        "{",  # cut off
        "[]",
        json.dumps({**measured(), "schema_version": 3}),  # a later version's
        json.dumps({"schema_version": 2, "detections": []}),  # a result of the API
    ],
)
def test_another_file_is_refused_with_the_way_out(tmp_path, content):
    path = tmp_path / "benchmark.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BoneFXError, match=r"holds no benchmark.*run `python -m bonefx benchmark --out"):
        report.read(path)
