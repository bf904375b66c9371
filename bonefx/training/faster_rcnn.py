"""Training of the project's own Faster R-CNN, written in Detectron2's naming with its YAML.

A run is a function of recipe, data and seed: a run that was resumed is, bit by bit, the one that was never
stopped, as long as processor and number of threads are the same.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bonefx import files
from bonefx.detectors.engines.torch_engine import TorchEngine
from bonefx.detectors.faster_rcnn import Processing
from bonefx.detectors.faster_rcnn.checkpoint import read_checkpoint
from bonefx.detectors.faster_rcnn.config import Architecture, Stage, detectron2_tree
from bonefx.detectors.faster_rcnn.network import Dense, FasterRCNN
from bonefx.detectors.graph_detector import GraphDetector
from bonefx.errors import BoneFXError, DatasetError, WeightsError
from bonefx.labels import CLASSES
from bonefx.training import CHECKPOINT, OnEpoch, OnStep, checkpoint
from bonefx.training.batches import Batch, groups, loader, seed_step
from bonefx.training.data import Reader, Sample, TrainingData
from bonefx.training.precision import computes_in_bfloat16
from bonefx.training.recipes import FasterRCNNRecipe

FINAL = "model_final.pth"
BEST = "model_best.pth"
CHECKPOINT_SECONDS = 300.0


def train(
    recipe: FasterRCNNRecipe,
    data: TrainingData,
    out: Path,
    *,
    init: Path | None = None,
    device: str = "cpu",
    resume: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    on_step: OnStep = lambda step, total, losses: None,
    on_epoch: OnEpoch = lambda epoch, detector: False,
) -> list[Path]:
    """Train, and write the averaged weights with their YAML after each epoch.

    Args:
        recipe: all numbers of the run.
        data: what to train on.
        out: folder of the run; `last.pth` in it is what `resume` continues.
        init: see `load_init`.
        device: `cpu` or `cuda`; trunk, pyramid and RPN head run in bfloat16 where that is native, the rest in
            float32.
        resume: go on from `last.pth`, with everything else as it was; from the start where there is none yet.
        checkpoint_seconds: longest time between two checkpoints, apart from a single step's.
        on_step: told the step (from 1), the number of steps and the losses.
        on_epoch: told the epoch (from 1) and a detector with the averaged weights; answers whether it is the
            best so far, which is then kept as `model_best.pth`.

    Returns:
        The weight files that there are: `model_final.pth`, and `model_best.pth` if there was a best.

    Raises:
        DatasetError: there are fewer images than a batch has, or one cannot be read.
        WeightsError: `init` does not fit.
        BoneFXError: the loss is no longer a number.
    """
    samples, per_epoch = data.samples, len(data.samples) // recipe.batch
    if not per_epoch:
        raise DatasetError(f"A training step takes {recipe.batch} images; there are only {len(samples)}.")
    total = recipe.epochs * per_epoch or recipe.iterations
    out.mkdir(parents=True, exist_ok=True)
    state = _State.begun(recipe, init, device, total)
    if resume and (out / CHECKPOINT).exists():
        state.restore(out / CHECKPOINT)
    detector = state.detector(recipe)
    read = Reader(2 * recipe.config.max_size)
    read.read_ahead(sample.path for sample in samples)
    dtype = torch.float16 if recipe.half else torch.float32
    # A checkpoint at the end of an epoch may be older than what follows it, which is done again.
    for epoch in range(max(state.done - 1, 0) // per_epoch, math.ceil(total / per_epoch)):
        saved = time.monotonic()
        for losses in _epoch(state, samples, read, recipe, epoch, total):
            on_step(state.done, total, losses)
            if time.monotonic() - saved > checkpoint_seconds:
                state.save(out / CHECKPOINT)
                saved = time.monotonic()
        state.save(out / CHECKPOINT)
        write(state.average.module, out / FINAL, dtype)
        if on_epoch(epoch + 1, detector):
            write(state.average.module, out / BEST, dtype)
    return [path for path in (out / FINAL, out / BEST) if path.exists()]


def _epoch(
    state: _State, samples: Sequence[Sample], read: Reader, recipe: FasterRCNNRecipe, epoch: int, total: int
) -> Iterator[dict[str, float]]:
    """The steps of an epoch that are left, of `total` in all; the losses of each."""
    begun = epoch * (len(samples) // recipe.batch)
    ratios = np.array([sample.width / sample.height for sample in samples])
    members = groups(ratios, recipe.batch, recipe.seed, epoch)[: total - begun]
    workers = 0 if state.device == "cpu" else max(1, (os.cpu_count() or 1) // 2)
    rest = members[state.done - begun :]
    for batch in loader(samples, read, rest, state.done, recipe, state.network.divisor, workers):
        seed_step(recipe, state.done)
        yield state.step(batch)


@dataclass
class _State:
    """What a run changes as it goes, and a checkpoint holds.

    Attributes:
        network, average: what learns, and the average of its weights.
        optimizer, schedule: with their own states.
        device: where they are.
        done: steps.
    """

    network: FasterRCNN
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    device: str
    done: int = 0

    @classmethod
    def begun(cls, recipe: FasterRCNNRecipe, init: Path | None, device: str, total: int) -> _State:
        """At the first of `total` steps."""
        torch.manual_seed(recipe.seed)
        network = build(recipe)
        if init is not None and (fresh := load_init(network, init)):
            words = f"{init.name} lacks {len(fresh)} tensors, {fresh[0]} first: they start random"
            warnings.warn(words, stacklevel=3)
        network = network.to(device, memory_format=torch.channels_last).train()
        for frozen in (network.backbone.bottom_up.stem, network.backbone.bottom_up.res2):
            frozen.requires_grad_(False)
        # With a decay of 0 the average is the last state.
        average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))
        average.module.eval()
        optimizer = _optimizer(network, recipe)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, total, recipe))
        return cls(network, average, optimizer, schedule, device)

    def step(self, batch: Batch) -> dict[str, float]:
        """One step of training; its losses."""
        torch.set_rng_state(batch.random_state)
        losses = _step(self.network, self.optimizer, batch, self.device)
        self.schedule.step()
        self.average.update_parameters(self.network)
        self.done += 1
        return losses

    def detector(self, recipe: FasterRCNNRecipe) -> GraphDetector:
        """One with the averaged weights, whatever these become."""
        engine = TorchEngine(self.average.module, torch.device(self.device))
        return GraphDetector(Processing(recipe.config, self.network.divisor), engine)

    def save(self, path: Path) -> None:
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        checkpoint.save({**parts, "step": self.done}, path)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint."""
        saved = torch.load(path, map_location=self.device, weights_only=True)
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])
        self.done = saved["step"]

    def _parts(self) -> dict[str, Any]:
        return {
            "model": self.network,
            "average": self.average,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
        }


def build(recipe: FasterRCNNRecipe) -> FasterRCNN:
    """The recipe's network with fresh weights, initialised as in Detectron2."""
    stages = [Stage(blocks, 64 * 2**i, 256 * 2**i) for i, blocks in enumerate(recipe.stages)]
    config = recipe.config
    anchors = len(config.anchor_sizes[0]) * len(config.aspect_ratios[0])
    architecture = Architecture(
        tuple(stages), recipe.levels, recipe.channels, anchors, recipe.fc, 7, len(CLASSES)
    )
    network = FasterRCNN(architecture, config)
    network.roi_heads.fg_bg_sampler.batch_size_per_image = recipe.rois
    for name, module in network.named_modules():
        if "bottom_up" in name or not isinstance(module, (nn.Conv2d, nn.Linear)):
            continue
        if "rpn_head" in name or "cls_score" in name:
            nn.init.normal_(module.weight, std=0.01)
        elif "bbox_pred" in name:
            nn.init.normal_(module.weight, std=0.001)
        else:
            nn.init.kaiming_uniform_(module.weight, a=1)
        nn.init.zeros_(module.bias)
    return network


def load_init(network: FasterRCNN, path: Path) -> list[str]:
    """Start from a trunk (`.npz` in Detectron2's names) or from a Detectron2 checkpoint (`.pth`).

    A checkpoint may have other classes or anchors: the layers that tell them then stay fresh.

    Returns:
        The names of the tensors that the file does not have, or not in this shape, and that stay fresh.

    Raises:
        WeightsError: the file cannot be read, no tensor of a trunk fits, or of a checkpoint another layer
            does not.
    """
    whole = path.suffix != ".npz"
    module: nn.Module = network if whole else network.backbone.bottom_up
    own = module.state_dict()
    found = read_checkpoint(path) if whole else _read_trunk(path)
    fitting = {name: value for name, value in found.items() if _shape(own.get(name)) == value.shape}
    fresh = [name for name in own if name not in fitting]
    unfit = [name for name in fresh if not any(layer in name for layer in _OUTPUT_LAYERS)]
    unfit += [name for name in found if name.startswith("backbone.") and name not in own]
    if not fitting or (whole and unfit):
        problem = f": {unfit[0]} is not in both, or has another shape" if whole else ""
        raise WeightsError(f"{path.name} does not fit the network of this recipe{problem}")
    module.load_state_dict({**own, **fitting})
    return fresh


_OUTPUT_LAYERS = ("rpn_head.objectness_logits", "rpn_head.anchor_deltas", "box_predictor")


def rate(step: int, total: int, recipe: FasterRCNNRecipe) -> float:
    """Learning rate at a step (from 0), as a share of the peak: linear warm-up, then cosine or falls."""
    warm = min(1.0, (step + 1) / max(1, min(recipe.warmup, total // 5)))
    if recipe.optimizer == "sgd":
        return warm * 0.1 ** sum(step * recipe.iterations >= fall * total for fall in recipe.steps)
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(step / total, 1.0))))


def write(network: FasterRCNN, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write weights in Detectron2's layout, and beside them the YAML that reads them.

    Vectors stay float32 whatever `dtype` is: they are few, and the variances that the frozen normalisation
    of an ImageNet trunk holds reach 83,615, beyond float16.
    """
    state = {
        name: value.detach().cpu().to(dtype if value.ndim > 1 else torch.float32).contiguous()
        for name, value in network.state_dict().items()
    }
    checkpoint.save({"model": state}, path)
    tree = detectron2_tree(network.architecture, network.config)
    text = yaml.safe_dump(tree, sort_keys=False, default_flow_style=None)
    with files.whole(path.with_suffix(".yaml")) as file:
        file.write(text.encode())


def _optimizer(network: FasterRCNN, recipe: FasterRCNNRecipe) -> torch.optim.Optimizer:
    trunk = [p for name, p in network.named_parameters() if "bottom_up" in name and p.requires_grad]
    rest = [p for name, p in network.named_parameters() if "bottom_up" not in name]
    sets = [{"params": rest, "lr": recipe.lr}, {"params": trunk, "lr": recipe.trunk_lr}]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(sets, momentum=0.9, weight_decay=recipe.weight_decay)
    return torch.optim.AdamW(sets, weight_decay=recipe.weight_decay)


def _step(
    network: FasterRCNN, optimizer: torch.optim.Optimizer, batch: Batch, device: str
) -> dict[str, float]:
    images = batch.images.to(device, memory_format=torch.channels_last)
    targets = [{name: value.to(device) for name, value in target.items()} for target in batch.targets]
    with torch.autocast(device, torch.bfloat16, enabled=computes_in_bfloat16(device)):
        dense = network.dense(images)
    # Box arithmetic and the losses need float32.
    dense = Dense(*([tensor.float() for tensor in level] for level in dense))
    losses = network.losses(dense, batch.sizes, targets)
    loss = sum(losses.values())
    if not torch.isfinite(loss):
        raise BoneFXError("The loss is no longer a number. Train with a lower learning rate.")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()
    return {"loss": loss.item(), **{name: value.item() for name, value in losses.items()}}


def _read_trunk(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path.name} cannot be read as NumPy arrays") from error


def _shape(tensor: Tensor | None) -> torch.Size | None:
    return None if tensor is None else tensor.shape
