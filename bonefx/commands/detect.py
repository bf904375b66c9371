"""`python -m bonefx detect`: image files in, what the models found in them out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from os.path import realpath
from pathlib import Path
from typing import Any

from bonefx import batch, entries, shards
from bonefx.detectors import MODELS
from bonefx.errors import RequestError, quoted
from bonefx.inference import CHOICES
from bonefx.interchange import FORMATS
from bonefx.results import Outcome
from bonefx.settings import DEFAULT_THRESHOLD, NOTICE, Settings
from bonefx.terminal import Stopped, replace_line, say, stoppable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Offer the command's arguments."""
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="an image, a folder of images, or a ZIP archive"
    )
    parser.add_argument("--model", choices=[*CHOICES, "all"], default="all")
    parser.add_argument("--threshold", type=_threshold, default=DEFAULT_THRESHOLD, help="lowest score shown")
    parser.add_argument("--json", action="store_true", help="print a list of results")
    parser.add_argument(
        "--out",
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
    archive = parser.add_argument_group(
        "archives of any size",
        "one folder in, Parquet files out; both may be addresses such as s3:// or hf://",
    )
    archive.add_argument(
        "--parquet", action="store_true", help="with --out: one row an image and model, and nothing else"
    )
    archive.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="the same rows by the workers of a Ray cluster; without ADDRESS one that is started here",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; its exit status: 1 if an image could not be read or a model failed."""
    if options.parquet or options.ray is not None:
        return _run_archive(options)
    options.files = [Path(file) for file in options.files]
    options.out = None if options.out is None else Path(options.out)
    if (options.formats or options.dicom) and options.out is None:
        raise RequestError("--format and --dicom say what is written into a folder: give that with --out.")
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

    rows = batch.run(found, _models(options), answer, progress=progress, reports=options.dicom)
    return (
        rows
        if options.out is None
        else batch.save_folder(rows, options.out, tuple(dict.fromkeys(options.formats)))
    )


def _run_archive(options: argparse.Namespace) -> int:
    """Parquet shards in place of one folder of files."""
    if options.out is None or len(options.files) != 1:
        raise RequestError(
            "Parquet files are made of one folder, and written to another: give that with --out."
        )
    if options.json or options.formats or options.dicom:
        raise RequestError("--json, --format and --dicom are not for --parquet and --ray.")
    shards.check_installed()
    from bonefx.shards.run import here, run

    begun = None
    try:
        if options.ray is not None:
            from bonefx.shards.ray_engine import RayEngine

            begun = RayEngine(options.ray or None)
        summary = run(
            options.files[0], options.out, _models(options), options.threshold, Settings.from_env(),
            begun or here, _tell,
        )  # fmt: skip
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        return 130
    finally:
        if begun is not None:
            begun.close()
    replace_line()
    this_run, failed = summary["this_run"], sum(summary["failed"].values())
    say(
        f"{summary['images']} images, {sum(summary['rows'].values())} rows, {failed} of them an error. "
        f"This run: {this_run['images']} images in {this_run['seconds']:g} s, "
        f"{this_run['images_per_second'] or 0:g} a second, {this_run['processor_hours']:g} processor hours.\n"
        f"{NOTICE}"
    )
    return int(failed > 0)


def _models(options: argparse.Namespace) -> list[str]:
    return list(MODELS) if options.model == "all" else [options.model]


def _tell(words: str) -> None:
    """Progress: a line that the next one replaces, or lines of a log."""
    if sys.stderr.isatty():
        replace_line(words)
    else:
        print(words, file=sys.stderr, flush=True)


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
