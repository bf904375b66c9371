"""`python -m bonefx examples`: what the bundled weights find in the examples, and their thumbnails."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from bonefx import images, inference
from bonefx.detectors import MODELS, Registry
from bonefx.errors import BoneFXError
from bonefx.settings import Settings, packaged
from bonefx.terminal import replace_line
from bonefx.ui.example_results import FILE, FORMAT, to_record, without_source_notes
from bonefx.ui.examples import THUMBNAILS, contact_sheet, examples


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Offer the command's arguments."""
    parser.add_argument(
        "--out", type=Path, default=packaged("bundled") / FILE, help="the file; by default the one in use"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the bundled weights on all examples, in float32, and write what they find into one file.

    The filmstrip's thumbnails are made anew too.
    """
    registry = Registry(Settings(hub=False, weights_dir=Path(os.devnull), precision="float32"))
    models: dict[str, Any] = {}
    for example in examples().values():
        replace_line(example.id)
        for outcome in inference.run(images.read(example.path), list(MODELS), registry):
            if outcome.error is not None:
                raise BoneFXError(f"{outcome.model} on {example.path.name}: {outcome.error}")
            record = to_record(without_source_notes(outcome, example))
            common = {key: record.pop(key) for key in ("weights", "runtime", "nms", "image_size")}
            models.setdefault(outcome.model, (common, {}))[1][example.id] = record
    replace_line("")
    lines = [
        f"{json.dumps(model_id)}: [{json.dumps(common)}, {{\n"
        + ",\n".join(f" {json.dumps(name)}: {json.dumps(one)}" for name, one in results.items())
        + "\n}]"
        for model_id, (common, results) in models.items()
    ]
    text = f'{{"format": {FORMAT}, "models": {{\n' + ",\n".join(lines) + "\n}}\n"
    options.out.write_text(text, encoding="utf-8")
    contact_sheet().save(packaged("examples") / THUMBNAILS, quality=72)
    print(f"{options.out}: {len(examples())} examples, {len(text) // 1024} kB.")
    return 0
