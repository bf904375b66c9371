"""`python -m bonefx readme`: the parts of README.md that are computed from files, kept true to them.

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
from bonefx.evaluation.summary import markdown_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Offer the command's arguments."""
    parser.add_argument("file", metavar="FILE", nargs="?", type=Path, default=Path("README.md"))
    parser.add_argument("--check", action="store_true", help="write nothing; fail if FILE is stale")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; its exit status."""
    text = options.file.read_text(encoding="utf-8")
    fresh = rewritten(text, options.file.parent)
    if options.check and fresh != text:
        raise BoneFXError(f"{options.file} is stale: run `python -m bonefx readme`.")
    if fresh != text:
        options.file.write_text(fresh, encoding="utf-8")
    return 0


def rewritten(text: str, root: Path) -> str:
    """The text with each marked part computed anew.

    Args:
        text: of a README.md.
        root: folder that the parts are computed from.

    Raises:
        BoneFXError: a marker is missing, or a file cannot be read.
    """
    for name, content in BLOCKS.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise BoneFXError(f"The README must have {begin} and, after it, {end}.")
        text = f"{before}{begin}\n{content(root)}{end}{after}"
    return text


def _results(root: Path) -> str:
    """The table of the metrics that were measured, a consensus last, then of those that others reported."""
    folder = root / "precomputed_metrics"
    measured = [report.read(path) for path in sorted(folder.glob("metrics_*.json"))]
    measured.sort(key=lambda made: made["detector"]["method"] is not None)
    reported = [report.read(path) for path in sorted(folder.glob("reported_*.json"))]
    return markdown_table([*measured, *reported])


def _benchmark(root: Path) -> str:
    """The tables of what was measured on a machine that each file names.

    Raises:
        BoneFXError: there is no such file.
    """
    files = sorted((root / "docs").glob("benchmark*.json"))
    if not files:
        raise BoneFXError(
            "The README needs a benchmark: python -m bonefx benchmark --out docs/benchmark.json"
        )
    return "\n".join(as_markdown(read_benchmark(file)) for file in files)


BLOCKS: dict[str, Callable[[Path], str]] = {"results": _results, "benchmark": _benchmark}
