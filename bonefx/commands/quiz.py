"""`python -m bonefx quiz`: cases to read on this machine, a study with several readers, and its figures."""

from __future__ import annotations

import argparse
import json
import secrets
from dataclasses import asdict
from pathlib import Path

from bonefx.detectors import MODELS, default_registry
from bonefx.errors import RequestError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Offer the command's arguments."""
    parser.add_argument("--data", type=Path, help="a labelled folder (YOLO or COCO) in place of the phantoms")
    parser.add_argument("--split", default="valid", help="whose images (default: %(default)s)")
    parser.add_argument("--readers", type=int, metavar="N", help="a study: a link for each of N readers")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where a study's answers go, one a line")
    parser.add_argument(
        "--washout",
        type=float,
        metavar="DAYS",
        help="read each case a second time after so many days, in place of at once",
    )
    parser.add_argument(
        "--model",
        choices=(*MODELS, "all"),
        default="all",
        help="whose marks a study shows",
    )
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in")
    parser.add_argument("--port", type=int, default=7860, help="default: %(default)s")
    parser.add_argument("--report", type=Path, metavar="FILE", help="evaluate a study's answers, and end")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Evaluate answers, or serve cases until Ctrl-C."""
    if options.report is not None:
        return _report(options.report, options.json)
    if (options.readers is None) != (options.out is None):
        raise RequestError("A study needs both --readers and --out.")
    if options.washout is not None and options.readers is None:
        raise RequestError("--washout belongs to a study: add --readers and --out.")
    return _serve(options)


def _serve(options: argparse.Namespace) -> int:
    from bonefx.quiz import cases as quiz_cases
    from bonefx.quiz.study import MAX_READERS, Study, new_plan

    own = None if options.data is None else quiz_cases.labelled(options.data, options.split)
    study = None
    if options.readers is not None:
        if not 1 <= options.readers <= MAX_READERS:
            raise RequestError(f"A study has 1 to {MAX_READERS} readers.")
        if options.washout is not None and not 0 <= options.washout <= 365:
            raise RequestError("A washout has 0 to 365 days.")
        cases = own or quiz_cases.pack()
        models = list(MODELS) if options.model == "all" else [options.model]
        plan = new_plan(cases, options.readers, models, options.washout, secrets.token_hex(16))
        study = Study.open(plan, cases, options.out)

    from bonefx.ui.build import build, launch_options

    demo = build(default_registry(), own, study)
    demo.launch(
        server_name=options.host,
        server_port=options.port,
        quiet=True,
        prevent_thread_lock=True,
        **launch_options(),
    )
    address = f"http://{options.host}:{options.port}/?quiz="
    if study is None:
        print(f"Read it yourself: {address}1", flush=True)
    else:
        for reader in range(1, study.plan.readers + 1):
            print(f"Reader {reader}: {address}{study.plan.link(reader)}")
        print(
            f"Answers go to {options.out}. Ctrl-C ends it; the same command goes on where it was.", flush=True
        )
    demo.block_thread()
    return 0


def _report(path: Path, as_json: bool) -> int:
    from bonefx.quiz.study import evaluate
    from bonefx.quiz.words import in_words

    result = evaluate(path)
    if as_json:
        plan = result.plan.model_dump(exclude={"seed", "cases"})
        print(json.dumps({**asdict(result), "plan": {**plan, "cases": len(result.plan.cases)}}, indent=1))
        return 0
    print("\n".join(in_words(result)))
    return 0
