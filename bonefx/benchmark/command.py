"""`python -m bonefx benchmark`: measure, and print the tables."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Offer the command's arguments."""
    parser.add_argument(
        "--full-size",
        action="store_true",
        help="the published architectures with random weights, in place of the bundled weights",
    )
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write them to a file too; the README has docs/benchmark*.json",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; its exit status."""
    from bonefx.benchmark import report
    from bonefx.benchmark.measure import BUNDLED, FULL_SIZE, measure

    plan = FULL_SIZE if options.full_size else BUNDLED
    command = "python -m bonefx benchmark" + (" --full-size" if options.full_size else "")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # who ends this ends its workers
    progress = _Progress()
    try:
        made = measure(plan, command, progress)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    finally:
        progress.end()
    print(json.dumps(made, indent=1) if options.json else report.as_text(made))
    if options.out:
        report.write(made, options.out)
    return 0


class _Progress:
    """A line that says what is measured now; on a terminal the next one replaces it."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._start, self._end = ("\r\033[K", "") if sys.stderr.isatty() else ("", "\n")

    def __call__(self, text: str) -> None:
        seconds = time.perf_counter() - self._begun
        print(f"{self._start}{seconds:4.0f} s: {text}", end=self._end, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave an empty line to what is printed next."""
        print(self._start, end="", file=sys.stderr, flush=True)
