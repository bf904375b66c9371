"""The whole way of a checkpoint to graphs that agree with it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from bonefx import images
from bonefx.detections import Detections
from bonefx.detectors import graphs
from bonefx.detectors.base import Engine, Processing, Stopwatch, has_int8
from bonefx.detectors.conversion import convert, verification
from bonefx.detectors.engines.openvino_engine import OpenVINOEngine, has_bfloat16
from bonefx.detectors.graph_detector import GraphDetector
from bonefx.detectors.graphs import Card, cache
from bonefx.detectors.loading import short_name
from bonefx.errors import BoneFXError, WeightsError
from bonefx.evaluation.dataset import Dataset
from bonefx.settings import Settings, packaged
from bonefx.sources.hub import WeightFile, sha256_of

NNCF_COMMAND = "`pip install '.[convert]'` in the folder of BoneFX"

AGAINST_TORCH = 4
"""Example images on which a float graph is compared with torch itself, which is slow."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Pictures:
    """Image files for a conversion.

    Attributes:
        calibration: on which a graph of eight bits is calibrated.
        calibrated_on: these, in words.
        checked: others, on which forms are compared with float32.
        labels: what is in `checked`, where that is known.
    """

    calibration: Sequence[Path]
    calibrated_on: str
    checked: Sequence[Path]
    labels: Dataset | None = field(default=None, repr=False)

    def check(
        self, reference: Sequence[Detections], processing: Processing, engine: Engine
    ) -> dict[str, Any]:
        """Whether what a form finds in `checked` is near enough to `reference`, what float32 finds."""
        found = detect(processing, engine, self.checked)
        if self.labels is None:
            return verification.agreement(reference, found)
        return verification.labelled(self.labels, reference, found)


def into_cache(model: ModuleType, weights: WeightFile, cache_dir: Path) -> Path:
    """Make the float graph of weights and keep it; the folder.

    Raises:
        BoneFXError: it does not agree with the checkpoint, or that is not the file any more that was meant.
        OSError: nothing can be written.
    """
    name = short_name(model)

    def write(folder: Path) -> None:
        make_float(model, weights, graphs.card_path(folder, name, "float"), examples(AGAINST_TORCH))

    def whole(folder: Path) -> bool:
        try:
            graphs.read(graphs.card_path(folder, name, "float"), name, weights)
        except WeightsError:
            return False
        return True

    return cache.store(graphs.folder(cache_dir), graphs.folder_name(name, weights), write, whole)


def beside(model: ModuleType, weights: WeightFile, pictures: Pictures, tell: Tell) -> list[Card]:
    """Make the graphs of weights beside them: the float one, and one of eight bits if it is good enough.

    Args:
        model: the model's module.
        weights: a file in a folder that can be written.
        pictures: to calibrate and check on.
        tell: told what is done now.

    Returns:
        The cards of the graphs that are there now.

    Raises:
        BoneFXError: see `into_cache`.
        OSError: see `into_cache`.
    """
    folder, stem = weights.path.parent, weights.path.stem
    tell("float32")
    card = graphs.card_path(folder, stem, "float")
    whole, reference = make_float(model, weights, card, examples(AGAINST_TORCH), pictures)
    made = [whole]
    if importlib.util.find_spec("nncf") is None:
        tell(f"8 bits are left out: they need NNCF, {NNCF_COMMAND}")
        return made
    if not has_int8():
        tell("8 bits are left out: this processor computes them otherwise than those that would use them")
        return made
    for float_layers in model.convertible(weights).quantised_without:
        tell(f"8 bits but for {', '.join(float_layers) or 'nothing'}")
        card = graphs.card_path(folder, stem, "int8")
        eight = make_int8(model, weights, card, float_layers, pictures, reference)
        tell(f"8 bits: {eight.checks['int8']}")
        if eight.passed("int8"):
            return [*made, eight]
    for file in graphs.files(graphs.card_path(folder, stem, "int8")):
        file.unlink(missing_ok=True)
    return made


def make_float(
    model: ModuleType,
    weights: WeightFile,
    card: Path,
    against_torch: Sequence[Path],
    pictures: Pictures | None = None,
) -> tuple[Card, list[Detections]]:
    """Write the graph that computes in float32, or in bfloat16 if that is found to be good enough.

    Args:
        model: the model's module.
        weights: the checkpoint.
        card: where the graph's card goes, and beside it the graph.
        against_torch: images on which it is compared with torch.
        pictures: on which bfloat16 is compared with float32; None takes those of `against_torch`.

    Returns:
        Its card, and what it finds in float32 in the images that forms are checked on.

    Raises:
        BoneFXError: see `into_cache`.
    """
    _check_unchanged(weights)
    source = model.convertible(weights)
    made = convert.save(convert.trace(source), card, _about(model, weights, source.processing, "float"))
    processing, torch_engine = model.torch_engine(weights, Settings(frcnn_engine="torchvision"), "cpu")
    whole = _engine(card, "float32", processing)
    found = detect(processing, whole, against_torch)
    checks = {"float32": verification.agreement(detect(processing, torch_engine, against_torch), found)}
    if not checks["float32"]["passed"]:
        raise BoneFXError(f"The graph of {weights.file} does not find what the checkpoint finds.")
    reference = found if pictures is None else detect(processing, whole, pictures.checked)
    if has_bfloat16():
        pictures = pictures or Pictures((), "", against_torch)
        checks["bfloat16"] = pictures.check(reference, processing, _engine(card, "bfloat16", processing))
    return _with_checks(made, checks, card), reference


def make_int8(
    model: ModuleType,
    weights: WeightFile,
    card: Path,
    float_layers: Sequence[str],
    pictures: Pictures,
    reference: Sequence[Detections],
) -> Card:
    """Write the graph of eight bits, and compare it with what the float one finds.

    Args:
        model, weights, card: as of `make_float`.
        float_layers: names of the layers that stay in float32.
        pictures: to calibrate and check on.
        reference: what float32 finds in the images for the check.

    Raises:
        BoneFXError: see `into_cache`.
    """
    from bonefx.detectors.conversion.quantise import quantise

    _check_unchanged(weights)
    source = model.convertible(weights, folded=True)
    processing = source.processing
    inputs = [processing.prepare(images.read(path).rgb) for path in pictures.calibration]
    about = {
        **_about(model, weights, processing, "int8"),
        "float_layers": tuple(float_layers),
        "calibration": pictures.calibrated_on,
    }
    made = convert.save(quantise(source, inputs, float_layers), card, about)
    check = pictures.check(reference, processing, _engine(card, "int8", processing))
    return _with_checks(made, {"int8": check}, card)


def detect(processing: Processing, engine: Engine, files: Sequence[Path]) -> list[Detections]:
    """What a graph finds in image files."""
    detector = GraphDetector(processing, engine)
    return [detector.detect(images.read(file).rgb, Stopwatch()) for file in files]


def examples(number: int) -> list[Path]:
    """So many of the example images that travel with the code, or nearly: their shapes differ."""
    files = sorted(path for path in packaged("examples").glob("*") if path.suffix in (".png", ".dcm"))
    return files[:: max(1, len(files) // number)]


def _check_unchanged(weights: WeightFile) -> None:
    """
    Raises:
        BoneFXError: it is not the file any more whose SHA-256 was taken.
    """
    if sha256_of(weights.path) != weights.sha256:
        raise BoneFXError(f"{weights.path} is not the file any more that was loaded.")


def _about(model: ModuleType, weights: WeightFile, processing: Processing, form: str) -> dict[str, Any]:
    return {
        "model": short_name(model),
        "form": form,
        "weights": weights.sha256,
        "config": graphs.config_sha256(weights),
        "processing": processing.to_record(),
    }


def _engine(card: Path, precision: str, processing: Processing) -> OpenVINOEngine:
    return OpenVINOEngine(graphs.files(card)[1], precision, processing.ranks, None)


def _with_checks(made: Card, checks: dict[str, Any], card: Path) -> Card:
    made = replace(made, checks=checks)
    card.write_text(made.to_json(), encoding="utf-8")
    return made
