"""The command line: `python -m bonefx detect`, `evaluate`, `train`, `benchmark` or `docs`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from bonefx.errors import BoneFXError
from bonefx.settings import NOTICE

COMMANDS = {
    "detect": ("bonefx.detect_command", "find fractures in image files"),
    "evaluate": ("bonefx.evaluation.run", "measure how good the models are"),
    "train": ("bonefx.training.command", "train a model on a data set"),
    "benchmark": ("bonefx.benchmark.command", "measure how fast the models are on this machine"),
    "docs": ("bonefx.commands.docs", "bring the computed parts of README.md and docs/ up to date"),
}
"""Each command's module, which offers `add_arguments(parser)` and sets the default `run`, and its purpose."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status: 0 done, 1 something failed, 2 wrong arguments, 130 stopped."""
    parser = argparse.ArgumentParser(prog="python -m bonefx", description=f"BoneFX. {NOTICE}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, purpose) in COMMANDS.items():
        importlib.import_module(module).add_arguments(commands.add_parser(name, help=purpose))
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except BoneFXError as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
