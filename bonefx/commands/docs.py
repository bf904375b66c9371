"""`python -m bonefx docs`: what README.md, docs/ and the weights' cards compute from files, kept true.

Such a part stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->`; a card also has its figures in its
metadata, as the Hub reads them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard

from bonefx.benchmark.report import as_markdown
from bonefx.benchmark.report import read as read_benchmark
from bonefx.detectors import MODELS, ModelSpec
from bonefx.errors import BoneFXError
from bonefx.evaluation import report
from bonefx.evaluation.summary import HEADLINE_RATE, both_sets, markdown_table
from bonefx.files import whole
from bonefx.settings import Settings

ELSEWHERE = "FracAtlasUpper"
"""Folder of the metrics on hospital pictures, in that of the metrics."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Offer the command's arguments."""
    parser.add_argument("checkout", metavar="CHECKOUT", nargs="?", type=Path, default=Path())
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is stale")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; its exit status.

    Raises:
        BoneFXError: a page is stale (with `--check`), a marker is missing, or a file cannot be read.
    """
    for page, written in _pages():
        path = options.checkout / page
        text = path.read_text(encoding="utf-8")
        fresh = written(text, options.checkout)
        if fresh == text:
            continue
        if options.check:
            raise BoneFXError(f"{path} is stale: run `python -m bonefx docs`.")
        with whole(path) as file:
            file.write(fresh.encode())
    return 0


def _pages() -> Iterator[tuple[str, Callable[[str, Path], str]]]:
    """Each page, and what makes its text from the one it has and a checkout."""
    yield "README.md", lambda text, checkout: replaced(text, "results", _results(checkout))
    yield "docs/benchmark.md", lambda text, checkout: replaced(text, "benchmark", _benchmark(checkout))
    for model in MODELS.values():
        yield f"bonefx/bundled/{Path(model.bundled).stem}.md", partial(_card, model)


def replaced(text: str, name: str, content: str) -> str:
    """The text of a page with the part of this name replaced.

    Raises:
        BoneFXError: the part's markers are not there.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise BoneFXError(f"The page must have {begin} and, after it, {end}.")
    return f"{before}{begin}\n{content}{end}{after}"


def _results(checkout: Path) -> str:
    """The table of the metrics that were measured, data set by data set with a consensus last, then of those
    that others reported; above it what each model finds in both data sets.
    """
    folder = checkout / "precomputed_metrics"
    home, away = (_measured(each) for each in (folder, folder / ELSEWHERE))
    reported = [report.read(path) for path in sorted(folder.glob("reported_*.json"))]
    sentences = [both_sets(home[name], away[name]) for name in home if name in away]
    table = markdown_table([*home.values(), *away.values(), *reported])
    return "\n".join(["\n\n".join(sentences), "", table] if sentences else [table])


def _measured(folder: Path) -> dict[str, report.Report]:
    """Reports by file name, a consensus last."""
    made = {path.name: report.read(path) for path in sorted(folder.glob("metrics_*.json"))}
    return dict(sorted(made.items(), key=lambda item: item[1]["detector"]["method"] is not None))


def _benchmark(checkout: Path) -> str:
    """The tables of what was measured on a machine that each file names.

    Raises:
        BoneFXError: there is no such file.
    """
    files = sorted((checkout / "docs").glob("benchmark*.json"))
    if not files:
        raise BoneFXError("docs/ needs a benchmark: python -m bonefx benchmark --out docs/benchmark.json")
    return "\n".join(as_markdown(read_benchmark(file)) for file in files)


def _card(model: ModelSpec, text: str, checkout: Path) -> str:
    """The card of bundled weights with their figures on each data set, as a table and in its metadata."""
    name = model.metrics_file(Settings())
    files = [checkout / "precomputed_metrics" / folder / name for folder in ("", ELSEWHERE)]
    made = [report.read(file) for file in files if file.exists()]
    (weights,) = made[0]["detector"]["members"]
    content = (
        f"`{weights['file']}`, SHA-256 `{weights['sha256']}`. Measured by `python -m bonefx evaluate --data "
        "DIR` on the whole of each split below, images without a fracture included; 95 % intervals by "
        "bootstrap over images. Nothing was chosen on these images.\n\n" + markdown_table(made)
    )
    card = ModelCard(replaced(text, "results", content))
    card.data.model_name = Path(weights["file"]).stem
    card.data.eval_results = [result for each in made for result in _eval_results(each)]
    return str(card)


def _eval_results(made: report.Report) -> Iterator[EvalResult]:
    """A report's main figures in the Hub's form; what was not measured is left out."""
    point, level = report.operating_point(made, HEADLINE_RATE), made["image_level"]
    figures = (
        ("average_precision", "AP", made["coco"]["ap"]),
        ("average_precision_50", "AP at IoU 0.5", made["coco"]["ap50"]),
        (
            "sensitivity",
            "Sensitivity for any fracture at 1 false positive per image",
            point and point["sensitivity"],
        ),
        ("roc_auc", "AUC at image level", level and level["auc"]),
    )
    for kind, name, value in figures:
        if isinstance(value, float):
            yield EvalResult(
                task_type="object-detection",
                dataset_type=made["dataset"]["name"],
                dataset_name=made["dataset"]["name"],
                dataset_split=made["dataset"]["split"],
                metric_type=kind,
                metric_name=name,
                metric_value=round(value, 4),
            )
