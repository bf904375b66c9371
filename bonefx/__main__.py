"""The command line: `python -m bonefx detect`, `evaluate`, `train` or `readme`."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bonefx.errors import BoneFXError
from bonefx.settings import DEFAULT_THRESHOLD, NOTICE

COMMANDS = {
    "evaluate": ("bonefx.evaluation.run", "measure how good the models are"),
    "train": ("bonefx.training.command", "train a model on a data set"),
    "readme": ("bonefx.readme", "bring the computed parts of README.md up to date"),
}
"""Each command's module, which offers `add_arguments(parser)` and sets the default `run`, and its purpose."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status: 0 done, 1 something failed, 2 wrong arguments, 130 stopped."""
    parser = argparse.ArgumentParser(prog="python -m bonefx", description=f"BoneFX. {NOTICE}")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_detect(commands.add_parser("detect", help="find fractures in image files"))
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


def _add_detect(parser: argparse.ArgumentParser) -> None:
    from bonefx.detectors import MODELS

    parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
    parser.add_argument("--model", choices=[*MODELS, "both"], default="both")
    parser.add_argument("--threshold", type=_threshold, default=DEFAULT_THRESHOLD, help="lowest score shown")
    parser.add_argument("--json", action="store_true", help="print a list of results")
    parser.set_defaults(run=_detect)


def _threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value


def _detect(options: argparse.Namespace) -> int:
    from bonefx import images, inference
    from bonefx.detectors import MODELS
    from bonefx.errors import ImageError

    model_ids = list(MODELS) if options.model == "both" else [options.model]
    results = []
    for path in options.files:
        try:
            outcomes = inference.run(images.read(path), model_ids, progress=_report_progress)
        except ImageError as error:
            outcomes = [inference.Outcome(path.name, 0, 0, model, error=str(error)) for model in model_ids]
        results += [outcome.to_result(options.threshold) for outcome in outcomes]
    if options.json:
        json.dump(results, sys.stdout, indent=1)
        print()
    else:
        print("\n\n".join(_in_words(result) for result in results))
        print(f"\n{NOTICE}")
    return int(any("error" in result for result in results))


def _report_progress(model_id: str, progress: object) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{model_id}: {progress.text()}", end="", file=sys.stderr)


def _in_words(result: dict) -> str:
    lines = [f"{result['image']}, {result['model']}:"]
    if "error" in result:
        return f"{lines[0]} {result['error']}"
    weights = result["weights"]
    lines[0] += f" weights {weights['file']} ({weights['source']}), threshold {result['threshold']:g}"
    lines += [f"  note: {note}" for note in result["notes"]]
    for row in result["detections"]:
        corners = ", ".join(f"{value:.0f}" for value in row["box"].values())
        lines.append(f"  {row['score']:.3f}  {row['label']:<18} [{corners}]")
    if not result["detections"]:
        lines.append("  no detection above the threshold")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
