"""`python -m bonefx train`: data in, weights and what made them out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bonefx.detectors import MODELS
from bonefx.detectors.base import Detector
from bonefx.errors import RequestError, WeightsError, quoted
from bonefx.training import recipes

if TYPE_CHECKING:
    from tqdm import tqdm

    from bonefx.training.data import TrainingData

RECIPES: dict[str, dict[str, Any]] = {"faster-rcnn": recipes.FASTER_RCNN, "yolo": recipes.YOLO}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Offer the command's arguments."""
    parser.add_argument("model", choices=[model for model in MODELS if model in RECIPES])
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        nargs="+",
        metavar="DIR",
        help="data sets in YOLO format; their splits `train`",
    )
    parser.add_argument(
        "--repeat",
        type=_share,
        nargs="+",
        metavar="N",
        help="how often a pass shows each image of each data set, in the order of --data; with 0.5 it shows "
        "half of them (default: once)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run")
    parser.add_argument(
        "--recipe",
        choices=["bundled", "original"],
        default="bundled",
        help="that of the bundled weights (default), or that of the authors of the published ones",
    )
    parser.add_argument(
        "--init",
        type=Path,
        metavar="FILE",
        help="weights to start from: YOLO an Ultralytics .pt, Faster R-CNN a ResNet trunk (.npz) or a "
        "checkpoint (.pth), both in Detectron2's names (default: random weights)",
    )
    parser.add_argument("--epochs", type=_whole(1), help="passes over the data, other than the recipe's")
    parser.add_argument("--image-size", type=_whole(32), help="in pixels, other than the recipe's")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is a GPU")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument(
        "--hold-out",
        action="store_true",
        help="train on 85 %% of each data set's images, and measure each epoch on the rest, which is no copy "
        "of them: for tuning",
    )
    parser.add_argument(
        "--measure-every",
        type=_whole(1),
        default=1,
        metavar="N",
        help="with --hold-out: epochs from one measurement to the next; the last one is always measured "
        "(default: 1)",
    )
    parser.add_argument(
        "--phantoms",
        type=_whole(1),
        default=0,
        metavar="N",
        help="learn also from N synthetic phantoms, which are rendered into --out (default: 0)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; its exit status."""
    try:
        _train(options)
    except KeyboardInterrupt:
        print("\nStopped. Go on with --resume.", file=sys.stderr)
        return 130
    return 0


def _train(options: argparse.Namespace) -> None:
    if options.init and not options.init.is_file():
        raise WeightsError(f"There is no file {options.init} to start from.")
    from bonefx.evaluation import predict
    from bonefx.training import data

    repeat = options.repeat or [1.0] * len(options.data)
    if len(repeat) != len(options.data):
        raise RequestError("--repeat needs one number for each folder of --data.")
    chosen, held = [data.load(folder) for folder in options.data], []
    if options.hold_out:
        chosen, held = map(list, zip(*map(data.hold_out, chosen), strict=True))
    chosen, held = [data.readable(part) for part in chosen], [predict.readable(part) for part in held]
    recipe = RECIPES[options.model][options.recipe].adapted(options.epochs, options.image_size)
    device = _device(options.device)
    phantoms = _render(options.phantoms, recipe.seed, options.out) if options.phantoms else None

    parts = [part.repeated(n, recipe.seed) for part, n in zip(chosen, repeat, strict=True)]
    mixture = data.mix([*parts, phantoms] if phantoms else parts)

    from tqdm import tqdm

    from bonefx.training.journal import RunRecord, describe
    from bonefx.training.validation import measure

    identity = {
        "model": options.model,
        "recipe": {"name": options.recipe, **asdict(recipe)},
        "data": [{**part.dataset.summary(), "repeat": n} for part, n in zip(chosen, repeat, strict=True)],
        "held_out": [dataset.summary() for dataset in held],
        "phantoms": phantoms.dataset.summary() if phantoms else None,
        "initial_weights": describe(options.init) if options.init else None,
    }
    journal = RunRecord(options.out, identity, device, options.resume)
    bar = tqdm(unit="step", disable=None, dynamic_ncols=True)  # None: only where a person looks on

    def on_step(step: int, total: int, losses: Mapping[str, float]) -> None:
        _advance(bar, step, total, losses["loss"])
        journal.step(step, losses)

    def on_epoch(epoch: int, detector: Detector) -> bool:
        due = epoch % options.measure_every == 0 or epoch == recipe.epochs
        figures = measure(detector, held) if held and due else {}
        bar.write(f"epoch {epoch}{_in_words(figures)}")
        return journal.epoch(epoch, figures)

    with bar:
        files = _trainer(options.model)(
            recipe,
            mixture,
            options.out,
            init=options.init,
            device=device,
            resume=options.resume,
            on_step=on_step,
            on_epoch=on_epoch,
        )
    journal.finish(files)
    print("\n".join(str(file) for file in files))


def _advance(bar: tqdm, step: int, total: int, loss: float) -> None:
    if bar.total is None:
        bar.reset(total)
        bar.update(step - 1)
    bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
    bar.update()


def _render(count: int, seed: int, out: Path) -> TrainingData:
    """Phantoms in a folder of the run, which a run that goes on finds there."""
    from bonefx.training import data

    folder = out / "phantoms"
    if not (folder / "data.yaml").exists():  # it is written last
        from bonefx.phantoms import make_dataset

        print(f"rendering {count} phantoms", file=sys.stderr)
        try:
            make_dataset(folder, count, seed)
        except ModuleNotFoundError as error:
            raise RequestError(
                f"Phantoms need the package {error.name}. Install the extra: pip install -e '.[phantoms]'"
            ) from None
    return data.load(folder)


def _trainer(model: str) -> Any:
    if model == "yolo":
        from bonefx.training import yolo

        return yolo.train
    from bonefx.training import faster_rcnn

    return faster_rcnn.train


def _device(wanted: str | None) -> str:
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise RequestError("There is no GPU that torch can use. Train with --device cpu.")
    return wanted or ("cuda" if torch.cuda.is_available() else "cpu")


def _in_words(figures: Mapping[str, float | None]) -> str:
    if not figures:
        return " done"
    told = (f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in figures.items())
    return f" on the held-out images: {', '.join(told)}"


def _share(text: str) -> float:
    """A parser of numbers above 0 that are not absurd."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to 100")
    return value


def _whole(unit: int) -> Any:
    """A parser of positive multiples of `unit`."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < 1 or int(text) % unit:
            multiple = "a positive whole number" if unit == 1 else f"a positive multiple of {unit}"
            raise argparse.ArgumentTypeError(f"{quoted(text)} is not {multiple}")
        return int(text)

    return parse
