"""README.md and docs/ say what the JSON files say."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

import bonefx
from bonefx.__main__ import main
from bonefx.benchmark.report import as_markdown
from bonefx.benchmark.report import write as write_benchmark
from bonefx.detectors import MODELS
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
CARDS = {id_: f"bonefx/bundled/{Path(model.bundled).stem}.md" for id_, model in MODELS.items()}
SPEED_BEGIN, SPEED_END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"


def docs(checkout: Path, *arguments: str) -> int:
    return main(["docs", str(checkout), *arguments])


@pytest.fixture
def checkout(tmp_path) -> Path:
    """Pages with old tables, beside metrics of two models and their consensus, and a benchmark."""
    (tmp_path / "precomputed_metrics").mkdir()
    for name, model in FILES.items():
        made = toy.measure(*toy.random_case(4), name=model)
        if model == "Consensus":
            made["detector"]["method"] = "fused"
        report.write(made, tmp_path / f"precomputed_metrics/{name}.json")
    write_benchmark(measured(), tmp_path / "docs/benchmark.json")
    (tmp_path / "README.md").write_text(
        f"# Title\n\n{BEGIN}\nold \\1\n{END}\n\nMore – text.\n", encoding="utf-8"
    )
    (tmp_path / "docs/benchmark.md").write_text(f"# Speed\n{SPEED_BEGIN}\n{SPEED_END}\n", encoding="utf-8")
    (tmp_path / "bonefx/bundled").mkdir(parents=True)
    for card in CARDS.values():
        text = f"---\nlicense: cc-by-4.0\n---\n\n# A model\n\n{BEGIN}\nold\n{END}\n"
        (tmp_path / card).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_repositorys_own_are_up_to_date():
    assert docs(ROOT, "--check") == 0, "run `python -m bonefx docs`"


@pytest.mark.slow
def test_a_stale_table_is_found_and_rewritten(checkout, capsys):
    page = checkout / "README.md"
    assert docs(checkout, "--check") == 1
    assert "README.md is stale: run `python -m bonefx docs`" in capsys.readouterr().err
    assert "old" in page.read_text(encoding="utf-8")  # checking writes nothing
    assert docs(checkout) == 0
    assert docs(checkout, "--check") == 0
    folder = checkout / "precomputed_metrics"
    # Measured here, the consensus after what it is made of; then reported by others.
    order = ("metrics_frcnn", "metrics_yolo", "metrics_consensus", "reported_a")
    table = markdown_table([report.read(folder / f"{name}.json") for name in order])
    assert page.read_text(encoding="utf-8") == f"# Title\n\n{BEGIN}\n{table}{END}\n\nMore – text.\n"

    report.write(toy.measure(*toy.random_case(5)), folder / "metrics_yolo.json")
    assert docs(checkout, "--check") == 1


@pytest.mark.slow
def test_a_second_benchmark_follows_the_first(checkout):
    page = checkout / "docs/benchmark.md"
    assert docs(checkout) == 0
    assert page.read_text(encoding="utf-8") == (
        f"# Speed\n{SPEED_BEGIN}\n{as_markdown(measured())}{SPEED_END}\n"
    )
    write_benchmark(measured(full_size=True), checkout / "docs/benchmark_full_size.json")
    assert docs(checkout, "--check") == 1
    assert docs(checkout) == 0
    text = page.read_text(encoding="utf-8")
    assert text.index("The bundled weights") < text.index("published architectures with random weights")


def missing(checkout):
    (checkout / "README.md").unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (missing, "README.md cannot be used: No such file"),
        (lambda root: (root / "README.md").write_text("# Title"), f"must have {BEGIN} and, after it, {END}"),
        (
            lambda root: (root / "README.md").write_text(f"{END} {BEGIN}"),
            f"must have {BEGIN} and, after it, {END}",
        ),
        (lambda root: (root / "precomputed_metrics/metrics_yolo.json").write_text("{"), "not JSON"),
        (lambda root: (root / "docs/benchmark.json").write_text("{"), "holds no benchmark"),
        (lambda root: (root / "docs/benchmark.json").unlink(), "docs/ needs a benchmark"),
    ],
)
def test_failures_are_sentences(checkout, capsys, spoil, message):
    spoil(checkout)
    assert docs(checkout) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_card_tells_its_weights_figures_as_the_hub_reads_them(checkout):
    """With `huggingface_hub`'s own reading of the metadata, which refuses what the Hub would not take."""
    elsewhere = toy.measure(*toy.random_case(7))
    elsewhere["dataset"]["name"] = "elsewhere"
    (checkout / "precomputed_metrics/FracAtlasUpper").mkdir()
    report.write(elsewhere, checkout / "precomputed_metrics/FracAtlasUpper/metrics_yolo.json")
    assert docs(checkout) == 0
    card = ModelCard.load(checkout / CARDS["yolo"])
    home = report.read(checkout / "precomputed_metrics/metrics_yolo.json")
    figures = {(each.dataset_name, each.metric_type): each.metric_value for each in card.data.eval_results}
    assert figures[home["dataset"]["name"], "average_precision_50"] == round(home["coco"]["ap50"], 4)
    assert figures["elsewhere", "roc_auc"] == round(elsewhere["image_level"]["auc"], 4)
    assert card.data.license == "cc-by-4.0"
    assert markdown_table([home, elsewhere]) in card.text
    assert f"SHA-256 `{home['detector']['members'][0]['sha256']}`" in card.text
    assert docs(checkout, "--check") == 0
