"""`python -m bonefx benchmark`: measure, and print the tables."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from bonefx.terminal import replace_line


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
        help="write them to a file too; docs/benchmark.md is made of docs/benchmark*.json",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; its exit status."""
    from bonefx.benchmark import report
    from bonefx.benchmark.measure import BUNDLED, FULL_SIZE, measure

    plan = FULL_SIZE if options.full_size else BUNDLED
    command = "python -m bonefx benchmark" + (" --full-size" if options.full_size else "")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # who ends this ends its workers
    begun = time.perf_counter()

    def tell(text: str) -> None:
        line = f"{time.perf_counter() - begun:4.0f} s: {text}"
        if sys.stderr.isatty():
            replace_line(line)
        else:  # in a log every line stays
            print(line, file=sys.stderr, flush=True)

    try:
        made = measure(plan, command, tell)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    finally:
        replace_line()
    print(json.dumps(made, indent=1) if options.json else report.as_text(made))
    if options.out:
        report.write(made, options.out)
    return 0
