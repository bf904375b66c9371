"""`python -m bonefx convert`: graphs of weights, which answer without torch, beside them and on the Hub."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bonefx.errors import BoneFXError, ImageError

if TYPE_CHECKING:
    from bonefx.detectors.conversion.make import Pictures
    from bonefx.evaluation.dataset import Dataset

HELD_OUT = "held-out"
"""The split of the images that `train --hold-out` does not learn from."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Offer the command's arguments."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        type=Path,
        help="a Detectron2 checkpoint (.pth, its YAML beside it) or an Ultralytics one (.pt); without any, "
        "the weights that travel with the code",
    )
    parser.add_argument(
        "--calibrate",
        nargs=2,
        metavar=("FOLDER", "SPLIT"),
        help="a data set whose images graphs of eight bits are calibrated on; without it, examples",
    )
    parser.add_argument(
        "--check",
        nargs=2,
        metavar=("FOLDER", "SPLIT"),
        help="a data set that they are compared with float32 on; without it, other examples. The split "
        f"`{HELD_OUT}` is of `train` what `train --hold-out` does not learn from",
    )
    parser.add_argument(
        "--images",
        type=int,
        default=1000,
        metavar="N",
        help="check on at most so many images (1000)",
    )
    parser.add_argument(
        "--calibration-images",
        type=int,
        default=300,
        metavar="N",
        help="calibrate on at most so many, less those that are checked on (300); more is not always better",
    )
    parser.add_argument("--push", action="store_true", help="publish the graphs to HF_REPO_ID")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; its exit status.

    Raises:
        BoneFXError: a file is no checkpoint, a graph does not agree with its checkpoint, a package is
            missing, or the Hub does not take the files.
    """
    from bonefx.detectors import MODELS, graphs, model_of
    from bonefx.detectors.loading import require
    from bonefx.settings import Settings, packaged
    from bonefx.sources import hub

    settings = Settings.from_env()
    files = options.files or [packaged("bundled") / model.bundled for model in MODELS.values()]
    models = [model_of(file, settings) for file in files]
    if options.push:
        hub.check_push_beside_weights(settings)
    weights = [hub.local_weights(file) for file in files]
    require("torch", "torchvision", "ultralytics")
    from bonefx.detectors.conversion import make

    pictures = _pictures(options)
    to_publish: dict[str, Path] = {}
    for file, one, model in zip(files, weights, models, strict=True):
        cards = make.beside(import_module(model.module), one, pictures, _teller(file))
        for card in cards:
            print(f"{file.name}: {card.form}, {card.checks}")
            path = graphs.card_path(file.parent, file.stem, card.form)
            to_publish |= {made.name: made for made in graphs.files(path)}
    if options.push:
        pushed = hub.push_beside_weights(settings, to_publish, "Graphs for OpenVINO")
        print(f"Published: {pushed.url}" if pushed.changed else f"Nothing changed: {pushed.url}")
    return 0


def _teller(file: Path) -> Callable[[str], None]:
    return lambda text: print(f"{file.name}: {text}", file=sys.stderr, flush=True)


def _pictures(options: argparse.Namespace) -> Pictures:
    """The images, those for calibration apart from those for the check.

    Raises:
        BoneFXError: a data set cannot be read, or one is asked for both.
    """
    from bonefx.detectors.conversion.make import Pictures, examples

    every = examples(sys.maxsize)
    calibration, on, checked, labels = every[::2], "every second example image", every[1::2], None
    if options.calibrate and options.calibrate == options.check:
        raise BoneFXError("Calibrate on other images than those that the graphs are checked on.")
    if options.check:
        labels = _spread(options.check, options.images)
        checked = [image.file for image in labels.images]
    if options.calibrate:
        dataset, held = _spread(options.calibrate, options.calibration_images), set(checked)
        calibration = [image.file for image in dataset.images if image.file not in held]
        on = f"{len(calibration)} images of {Path(options.calibrate[0]).name}, {options.calibrate[1]}"
    return Pictures(calibration, on, checked, labels)


def _spread(of: Sequence[str], most: int) -> Dataset:
    """At most so many images of a data set, from all over it; those that cannot be read are left out."""
    from bonefx import images
    from bonefx.evaluation import folder, predict

    root, split = of
    dataset = predict.held_out(Path(root)) if split == HELD_OUT else folder.load(root, split)
    number = len(dataset.images)
    readable = []
    for index in np.unique(np.linspace(0, number - 1, min(number, most)).round().astype(int)).tolist():
        try:
            images.read(dataset.images[index].file)
            readable.append(index)
        except ImageError as error:
            print(f"{dataset.images[index].file_name} is left out: {error}", file=sys.stderr)
    return dataset.subset(readable)
