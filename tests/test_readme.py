"""README.md says what the JSON files say."""

from __future__ import annotations

from pathlib import Path

import pytest

import bonefx
from bonefx.__main__ import main
from bonefx.benchmark.report import as_markdown
from bonefx.benchmark.report import write as write_benchmark
from bonefx.evaluation import report
from bonefx.evaluation.summary import markdown_table
from tests.benchmark.toy import measured
from tests.evaluation import toy

ROOT = Path(bonefx.__file__).parent.parent
FILES = {
    "metrics_yolo": "YOLO",
    "metrics_frcnn": "Faster R-CNN",
    "metrics_consensus": "Consensus",
    "reported_a": "A",
}
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
SPEED_BEGIN, SPEED_END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"


def readme(file: Path, *arguments: str) -> int:
    return main(["readme", str(file), *arguments])


@pytest.fixture
def file(tmp_path) -> Path:
    """A README.md with old tables, beside metrics of two models and their consensus, and a benchmark."""
    (tmp_path / "precomputed_metrics").mkdir()
    for name, model in FILES.items():
        made = toy.measure(*toy.random_case(4), name=model)
        if model == "Consensus":
            made["detector"]["method"] = "fused"
        report.write(made, tmp_path / f"precomputed_metrics/{name}.json")
    write_benchmark(measured(), tmp_path / "docs/benchmark.json")
    (tmp_path / "README.md").write_text(
        f"# Title\n\n{BEGIN}\nold \\1\n{END}\n\nMore – text.\n{SPEED_BEGIN}\n{SPEED_END}\n", encoding="utf-8"
    )
    return tmp_path / "README.md"


def test_the_repositorys_own_is_up_to_date():
    assert readme(ROOT / "README.md", "--check") == 0, "run `python -m bonefx readme`"


def test_a_stale_table_is_found_and_rewritten(file, capsys):
    assert readme(file, "--check") == 1
    assert "is stale: run `python -m bonefx readme`" in capsys.readouterr().err
    assert "old" in file.read_text(encoding="utf-8")  # checking writes nothing
    assert readme(file) == 0
    assert readme(file, "--check") == 0
    text = file.read_text(encoding="utf-8")
    folder = file.parent / "precomputed_metrics"
    # Measured here, the consensus after what it is made of; then reported by others.
    order = ("metrics_frcnn", "metrics_yolo", "metrics_consensus", "reported_a")
    table = markdown_table([report.read(folder / f"{name}.json") for name in order])
    speed = f"{SPEED_BEGIN}\n{as_markdown(measured())}{SPEED_END}\n"
    assert text == f"# Title\n\n{BEGIN}\n{table}{END}\n\nMore – text.\n{speed}"

    report.write(toy.measure(*toy.random_case(5)), folder / "metrics_yolo.json")
    assert readme(file, "--check") == 1


def test_a_second_benchmark_follows_the_first(file):
    write_benchmark(measured(full_size=True), file.parent / "docs/benchmark_full_size.json")
    assert readme(file, "--check") == 1
    assert readme(file) == 0
    text = file.read_text(encoding="utf-8")
    assert text.index("The bundled weights") < text.index("published architectures with random weights")


def missing(file):
    file.unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (missing, "README.md cannot be used: No such file"),
        (lambda file: file.write_text("# Title"), f"must have {BEGIN} and, after it, {END}"),
        (lambda file: file.write_text(f"{END} {BEGIN}"), f"must have {BEGIN} and, after it, {END}"),
        (lambda file: (file.parent / "precomputed_metrics/metrics_yolo.json").write_text("{"), "not JSON"),
        (lambda file: (file.parent / "docs/benchmark.json").write_text("{"), "holds no benchmark"),
        (lambda file: (file.parent / "docs/benchmark.json").unlink(), "The README needs a benchmark"),
    ],
)
def test_failures_are_sentences(file, capsys, spoil, message):
    spoil(file)
    assert readme(file) == 1
    assert message in capsys.readouterr().err
