"""`python -m bonefx detect`: image files in, what the models found in them out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from os.path import realpath
from pathlib import Path
from typing import Any

from bonefx import batch, dicom_results, entries
from bonefx.detectors import MODELS
from bonefx.errors import RequestError, quoted
from bonefx.inference import CHOICES, Outcome
from bonefx.interchange import FORMATS
from bonefx.settings import DEFAULT_THRESHOLD, NOTICE
from bonefx.terminal import Stopped, replace_line, say, stoppable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Offer the command's arguments."""
    parser.add_argument(
        "files", metavar="FILE", nargs="+", type=Path, help="an image, a folder of images, or a ZIP archive"
    )
    parser.add_argument("--model", choices=[*CHOICES, "both"], default="both")
    parser.add_argument("--threshold", type=_threshold, default=DEFAULT_THRESHOLD, help="lowest score shown")
    parser.add_argument("--json", action="store_true", help="print a list of results")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write results.json, results.csv and each image with its boxes into this folder",
    )
    parser.add_argument(
        "--format",
        action="append",
        choices=FORMATS,
        default=[],
        dest="formats",
        help="with --out: also write the results for other tools; can be given several times",
    )
    parser.add_argument(
        "--dicom",
        action="store_true",
        help="with --out: for each DICOM image also a structured report and a picture with boxes as DICOM",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; its exit status: 1 if an image could not be read or a model failed."""
    if (options.formats or options.dicom) and options.out is None:
        raise RequestError("--format and --dicom say what is written into a folder: give that with --out.")
    if options.dicom:
        dicom_results.check_installed()
    if options.out is not None and realpath(options.out) in map(realpath, options.files):
        raise RequestError(f"--out is {options.out} itself, whose images are read. Choose another folder.")
    found = entries.collect(options.files, limited=False, leave_out=options.out)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    status = 0
    with stoppable() as check:
        try:
            for row in _rows(found, options, check):
                results += row.results
                if row.no_report:
                    print(f"{row.name}: {row.no_report}", file=sys.stderr)
                if not options.json:
                    replace_line()
                    say("".join(f"{_in_words(result)}\n\n" for result in row.results), end="")
        except Stopped as stopped:
            status = stopped.status
    replace_line()
    if options.json:
        say(json.dumps(results, indent=1))
    else:
        say(NOTICE)
    if status:
        finished = len(dict.fromkeys(result["image"] for result in results))
        print(f"Stopped: {finished} of {len(found)} files are finished.", file=sys.stderr)
    return status or int(any("error" in result for result in results))


def _rows(
    found: Sequence[entries.Entry], options: argparse.Namespace, check: Callable[[], None]
) -> Iterator[batch.Row]:
    """A row for each file, written as it passes where that is asked for."""

    def answer(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
        return [outcome.to_result(options.threshold) for outcome in outcomes]

    def progress(words: str) -> None:
        check()
        replace_line(words)

    model_ids = list(MODELS) if options.model == "both" else [options.model]
    rows = batch.run(found, model_ids, answer, progress=progress, reports=options.dicom)
    return (
        rows
        if options.out is None
        else batch.save_folder(rows, options.out, tuple(dict.fromkeys(options.formats)))
    )


def _threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no number from 0 to 1")
    return value


def _in_words(result: dict[str, Any]) -> str:
    lines = [f"{result['image']}, {result['model']}:"]
    if "error" in result:
        return f"{lines[0]} {result['error']}"
    used = [each["weights"] for each in result.get("members", [result])]
    weights = " and ".join(f"{each['file']} ({each['source']})" for each in used)
    lines[0] += f" weights {weights}, threshold {result['threshold']:g}"
    lines += [f"  note: {note}" for note in result["notes"]]
    for row in result["detections"]:
        corners = ", ".join(f"{value:.0f}" for value in row["box"].values())
        lines.append(f"  {row['score']:.3f}  {row['label']:<18} [{corners}]")
    if not result["detections"]:
        lines.append("  no detection above the threshold")
    return "\n".join(lines)
