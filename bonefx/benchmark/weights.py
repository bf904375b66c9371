"""The two published architectures with random weights: as slow as the published models, and as blind.

A network takes the same time whatever its weights are. What follows it does not: its time depends on how many
boxes reach it, and of an untrained network these would be all (Faster R-CNN) or none (YOLO26). So the last
layers are scaled and shifted until, on phantoms, about as many boxes pass the score floor of 0.001 as in the
bundled models: of a Faster R-CNN's pairs of proposal and class a half, of a YOLO's places some hundred. Of
proposals a Faster R-CNN makes its full number with any weights. Where the boxes are, and so how many of them
the suppression removes, remains chance; both models keep the most detections that they may, or nearly.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bonefx import images
from bonefx.benchmark.pictures import phantoms
from bonefx.detections import SCORE_FLOOR
from bonefx.detectors.faster_rcnn import normalise, resize
from bonefx.detectors.faster_rcnn.network import ConvNorm
from bonefx.labels import DATASET_CLASSES
from bonefx.training import faster_rcnn, recipes, yolo

# isort: split
from ultralytics.nn.tasks import DetectionModel

SEED = 2026
PAIRS_PASS = 0.5
"""Share of a Faster R-CNN's pairs of proposal and class that pass the score floor."""
PLACES_PASS = 0.03
"""Share of a YOLO's places that pass it."""

_SEEN = 2  # phantoms that the statistics are of: those of a single one make the others extremes
_PIXEL_VARIANCE = 4e3  # of an image less its mean, on the scale 0 to 255
_PADDING = 114  # the grey around the images that a YOLO sees
_FLOOR = math.log(SCORE_FLOOR)


@torch.no_grad()
def write_faster_rcnn(path: Path) -> None:
    """Write the R50-FPN with the published model's settings, as a Detectron2 checkpoint, with its YAML."""
    torch.manual_seed(SEED)
    network = faster_rcnn.build(recipes.FASTER_RCNN["original"]).eval()
    for name, module in network.named_modules():
        if isinstance(module, ConvNorm):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if name.endswith("conv3"):
                module.norm.weight.fill_(0.3)  # keeps the sum of sixteen residuals in range
    network.backbone.bottom_up.stem.conv1.norm.running_var.fill_(_PIXEL_VARIANCE)
    predictor = network.roi_heads.box_predictor.cls_score
    seen: list[Tensor] = []
    hook = predictor.register_forward_hook(lambda module, inputs, output: seen.append(output))
    resized = resize(images.read(phantoms()[0]).rgb, network.config.min_size, network.config.max_size)
    pixels = torch.from_numpy(normalise(resized, network.config, network.divisor))
    network(pixels, torch.tensor(resized.shape[:2], dtype=torch.float32))
    hook.remove()
    classes = _rescale(predictor, seen[0])[:, :-1]
    # The background, which is last, takes nearly all of the probability, as it does in a trained model.
    predictor.bias[-1] += classes.flatten().quantile(1 - PAIRS_PASS) - _FLOOR
    faster_rcnn.write(network, path)


@torch.no_grad()
def write_yolo(path: Path) -> None:
    """Write the YOLO26m for 640 px, as an Ultralytics checkpoint."""
    torch.manual_seed(SEED)
    recipe = recipes.YOLO["original"]
    model = DetectionModel(f"{recipe.architecture}.yaml", nc=len(DATASET_CLASSES), verbose=False)
    model.names = dict(enumerate(DATASET_CLASSES))
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    seen_images = torch.from_numpy(_phantoms(recipe.image_size)).permute(0, 3, 1, 2).float() / 255
    for norm in norms:
        norm.momentum = 1.0  # the statistics of the one image that is seen now
    model.train()(seen_images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()

    head = model.model[-1]
    seen: dict[nn.Module, Tensor] = {}
    hooks = [
        branch[-1].register_forward_hook(lambda module, inputs, output: seen.update({module: output}))
        for branch in head.cv3
    ]
    model(seen_images)
    for hook in hooks:
        hook.remove()
    # Each box reaches three strides to all sides of its place: it covers its neighbours.
    for branch in head.cv2:
        branch[-1].weight.zero_()
        branch[-1].bias.fill_(3.0)
    for branch in head.cv3:
        best = _rescale(branch[-1], _rows(seen[branch[-1]])).amax(dim=1)
        branch[-1].bias += _FLOOR - best.quantile(1 - PLACES_PASS)
    yolo.write(model, recipe.image_size, path)


def _phantoms(size: int) -> np.ndarray:
    """Some phantoms as uint8 RGB (n, size, size, 3), grey beside those that are not square."""
    paths = phantoms()
    squares = []
    for path in paths[:: len(paths) // _SEEN][:_SEEN]:
        rgb = resize(images.read(path).rgb, size, size)
        margin = ((0, size - rgb.shape[0]), (0, size - rgb.shape[1]), (0, 0))
        squares.append(np.pad(rgb, margin, constant_values=_PADDING))
    return np.stack(squares)


def _rows(output: Tensor) -> Tensor:
    """Channels of (n, channels, h, w) as columns."""
    return output.movedim(1, -1).flatten(0, -2)


def _rescale(layer: nn.Linear | nn.Conv2d, output: Tensor) -> Tensor:
    """Change a layer so that each column of its output has mean 0 and deviation 1; the new output."""
    mean, factor = output.mean(dim=0), 1 / output.std(dim=0)
    layer.weight *= factor.view(-1, *[1] * (layer.weight.ndim - 1))
    layer.bias.copy_((layer.bias - mean) * factor)
    return (output - mean) * factor
