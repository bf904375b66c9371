"""The command line: `python -m bonefx detect`, `evaluate`, `train`, `benchmark` or `docs`."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from bonefx.errors import QUOTED, BoneFXError, shortened
from bonefx.settings import NOTICE
from bonefx.terminal import STANDARD_OUTPUT

COMMANDS = {
    "detect": ("bonefx.commands.detect", "find fractures in image files"),
    "evaluate": ("bonefx.commands.evaluate", "measure how good the models are"),
    "calibrate": ("bonefx.commands.calibrate", "learn what the scores mean"),
    "dataset": ("bonefx.commands.dataset", "lay out a public data set"),
    "train": ("bonefx.commands.train", "train a model on a data set"),
    "convert": ("bonefx.commands.convert", "make graphs of weights, which answer without torch"),
    "benchmark": ("bonefx.commands.benchmark", "measure how fast the models are on this machine"),
    "quiz": ("bonefx.commands.quiz", "read radiographs yourself, alone and with the models' marks"),
    "docs": ("bonefx.commands.docs", "bring the computed parts of README.md and docs/ up to date"),
    "examples": ("bonefx.commands.examples", "keep what the bundled weights find in the examples"),
}
"""Each command's module, which offers `add_arguments(parser)` and sets the default `run`, and its purpose."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0 done, 1 something failed, 2 wrong arguments, 128 and the signal's number where it
        was stopped: 130 by Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # who read the output has gone
        _drop_output()
        return 128 + signal.SIGPIPE
    except BoneFXError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename or 'A file'} cannot be used: {error.strerror or error}."
        if error.filename == STANDARD_OUTPUT:
            _drop_output()
    print(_shorter(message, arguments), file=sys.stderr)
    return 1


class _Parser(argparse.ArgumentParser):
    """Its messages repeat no more than is needed of what was typed."""

    def error(self, message: str) -> NoReturn:
        head, sign, unknown = message.partition("unrecognized arguments: ")
        super().error(_shorter(f"{head}{sign}{shortened(unknown)}", sys.argv))


def _run(arguments: Sequence[str]) -> int:
    parser = _Parser(prog="python -m bonefx", description=f"BoneFX. {NOTICE}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, purpose) in COMMANDS.items():
        importlib.import_module(module).add_arguments(commands.add_parser(name, help=purpose))
    options = parser.parse_args(arguments)
    return options.run(options)


def _shorter(message: str, arguments: Sequence[str]) -> str:
    """A message with each long argument, or long value of an option, cut to its beginning and its end."""
    sent = [text for argument in arguments for text in (argument, argument.partition("=")[2])]
    for text in sorted(sent, key=len, reverse=True):
        if len(text) > QUOTED:
            message = message.replace(text, shortened(text)).replace(repr(text)[1:-1], shortened(text))
    return message


def _drop_output() -> None:
    """Let Python's end find an output that takes what is left, or it would complain once more."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
