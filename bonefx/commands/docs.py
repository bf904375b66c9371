"""`python -m bonefx docs`: the parts of README.md and docs/ that are computed from files, kept true to them.

Such a part stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from bonefx.benchmark.report import as_markdown
from bonefx.benchmark.report import read as read_benchmark
from bonefx.errors import BoneFXError
from bonefx.evaluation import report
from bonefx.evaluation.summary import both_sets, markdown_table
from bonefx.files import whole

ELSEWHERE = "FracAtlasUpper"
"""Folder of the metrics on other hospitals' pictures, in that of the metrics."""


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
    for name, (page, content) in PARTS.items():
        path = options.checkout / page
        text = path.read_text(encoding="utf-8")
        fresh = replaced(text, name, content(options.checkout))
        if fresh == text:
            continue
        if options.check:
            raise BoneFXError(f"{path} is stale: run `python -m bonefx docs`.")
        with whole(path) as file:
            file.write(fresh.encode())
    return 0


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


PARTS: dict[str, tuple[str, Callable[[Path], str]]] = {
    "results": ("README.md", _results),
    "benchmark": ("docs/benchmark.md", _benchmark),
}
"""The page of each computed part, and what makes its content from a checkout."""
