"""Training of the project's own Faster R-CNN, written in Detectron2's naming with its YAML.

A run is a function of recipe, data and seed: the order of the images follows from (seed, epoch) and
every random draw of a step from (seed, step), so that a resumed run goes on as if it had never stopped.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision import tv_tensors
from torchvision.transforms import v2

from bonefx.detectors.config import detectron2_tree
from bonefx.detectors.faster_rcnn import load_state, normalise, resize
from bonefx.detectors.network import Architecture, Dense, FasterRCNN, Stage
from bonefx.errors import WeightsError
from bonefx.labels import CLASSES
from bonefx.training.recipes import FasterRCNNRecipe

CHECKPOINT_SECONDS = 300


class Sample(Protocol):
    """A training image: its file, lesion boxes (n, 4) in pixels, unified class ids (n,)."""

    path: Path
    boxes: np.ndarray
    class_ids: np.ndarray


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
    """Start from a trunk (`.npz` in Detectron2's names) or from a whole checkpoint (`.pth`).

    Returns:
        The names of the trunk's tensors that the file does not have and that stay fresh.

    Raises:
        WeightsError: no tensor of the file fits.
    """
    if path.suffix != ".npz":
        from bonefx.detectors.faster_rcnn import read_checkpoint

        load_state(network, read_checkpoint(path))
        return []
    trunk = network.backbone.bottom_up.state_dict()
    with np.load(path, allow_pickle=False) as arrays:
        found = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name in trunk}
    fitting = {name: value for name, value in found.items() if value.shape == trunk[name].shape}
    if not fitting:
        raise WeightsError(f"{path.name} has no tensor of a ResNet trunk in Detectron2's names")
    network.backbone.bottom_up.load_state_dict({**trunk, **fitting})
    return [name for name in trunk if name not in fitting]


def augmentation(recipe: FasterRCNNRecipe) -> v2.Transform:
    """Random flips, affine maps and brightness, on an image and its boxes."""
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(
                recipe.degrees,
                (recipe.translate, recipe.translate),
                (1 - recipe.scale, 1 + recipe.scale),
                interpolation=v2.InterpolationMode.BILINEAR,
            ),
            v2.ColorJitter(brightness=recipe.brightness, contrast=recipe.contrast),
            v2.ClampBoundingBoxes(),
            v2.SanitizeBoundingBoxes(min_size=4),
        ]
    )


def load_sample(
    sample: Sample, recipe: FasterRCNNRecipe, augment: v2.Transform | None
) -> tuple[np.ndarray, dict[str, Tensor]]:
    """The resized RGB image and its target for `FasterRCNN.select`."""
    with Image.open(sample.path) as file:
        rgb = np.asarray(file.convert("RGB"))
    resized = resize(rgb, recipe.config.min_size, recipe.config.max_size)
    scale = np.array([resized.shape[1] / rgb.shape[1], resized.shape[0] / rgb.shape[0]] * 2)
    boxes = torch.from_numpy((sample.boxes * scale).astype(np.float32)).reshape(-1, 4)
    labels = torch.from_numpy(np.asarray(sample.class_ids, np.int64)) + 1
    if augment is not None:
        image, target = augment(
            tv_tensors.Image(torch.from_numpy(resized.copy()).permute(2, 0, 1)),
            {
                "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=resized.shape[:2]),
                "labels": labels,
            },
        )
        resized = image.permute(1, 2, 0).numpy()
        boxes, labels = target["boxes"].as_subclass(Tensor), target["labels"]
    return resized, {"boxes": boxes, "labels": labels}


def collate(
    loaded: Sequence[tuple[np.ndarray, dict[str, Tensor]]], network: FasterRCNN
) -> tuple[Tensor, list[tuple[int, int]], list[dict[str, Tensor]]]:
    """Images zero-padded to the largest of the batch, their own (height, width), their targets."""
    images = [normalise(resized, network.config, network.divisor)[0] for resized, _ in loaded]
    height = max(image.shape[1] for image in images)
    width = max(image.shape[2] for image in images)
    batch = torch.zeros(len(images), 3, height, width)
    for row, image in zip(batch, images, strict=True):
        row[:, : image.shape[1], : image.shape[2]] = image
    return batch, [resized.shape[:2] for resized, _ in loaded], [target for _, target in loaded]


def batches(ratios: np.ndarray, batch: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Indices of each batch of an epoch: shuffled, with images of like aspect ratio together."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(ratios))
    window = 16 * batch  # wide enough to find alike shapes, narrow enough to stay random
    sorted_windows = [
        part[np.argsort(ratios[part], kind="stable")]
        for part in np.split(order, range(window, len(order), window))
    ]
    order = np.concatenate(sorted_windows)
    groups = [order[i : i + batch] for i in range(0, len(order) - batch + 1, batch)]
    return [groups[i] for i in rng.permutation(len(groups))]


def train(
    recipe: FasterRCNNRecipe,
    samples: Sequence[Sample],
    out: Path,
    *,
    init: Path | None = None,
    device: str = "cpu",
    resume: bool = False,
    on_step: Callable[[int, int, Mapping[str, float]], None] = lambda step, total, losses: None,
    on_epoch: Callable[[int, FasterRCNN], None] = lambda epoch, network: None,
) -> Path:
    """Train, and write `model_final.pth` with its YAML into `out`.

    Args:
        recipe: all numbers of the run.
        samples: the training images, in a fixed order.
        out: folder of the run; `last.pth` in it is the checkpoint that `resume` continues.
        init: trunk or checkpoint to start from.
        device: `cpu` or `cuda`; convolutions run in bfloat16 on either.
        on_step: told step, number of steps and losses.
        on_epoch: told the epoch (from 1) and the averaged network in evaluation mode.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    network = build(recipe)
    if init is not None:
        load_init(network, init)
    network = network.to(device, memory_format=torch.channels_last).train()
    for frozen in (network.backbone.bottom_up.stem, network.backbone.bottom_up.res2):
        frozen.requires_grad_(False)
    # Without averaging the "average" is the last state.
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))
    optimizer = _optimizer(network, recipe)
    ratios = np.array([_aspect_ratio(sample.path) for sample in samples])
    per_epoch = len(ratios) // recipe.batch
    total = recipe.iterations or recipe.epochs * per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, total, recipe))
    done = 0
    last = out / "last.pth"
    if resume and last.exists():
        state = torch.load(last, map_location=device, weights_only=True)
        network.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        done = state["step"]

    def save() -> None:
        _replace(
            last,
            {
                "model": network.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "step": done,
            },
        )

    augment = augmentation(recipe)
    saved = time.monotonic()
    with (out / "losses.jsonl").open("a", encoding="utf-8") as journal:
        while done < total:
            epoch, first = divmod(done, per_epoch)
            for group in batches(ratios, recipe.batch, recipe.seed, epoch)[first:]:
                if done == total:
                    break
                torch.manual_seed(recipe.seed * 1_000_003 + done)
                loaded = [load_sample(samples[i], recipe, augment) for i in group]
                losses = _step(network, optimizer, collate(loaded, network), device)
                schedule.step()
                average.update_parameters(network)
                done += 1
                on_step(done, total, losses)
                journal.write(json.dumps({"step": done, **losses}) + "\n")
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    journal.flush()
                    save()
                    saved = time.monotonic()
            if done % per_epoch == 0 or done == total:
                save()
                on_epoch(math.ceil(done / per_epoch), average.module.eval())
                average.module.train()
    return write(average.module, out / "model_final.pth")


def write(network: FasterRCNN, path: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Write weights in Detectron2's layout, and beside them the YAML that reads them."""
    state = {
        name: value.detach().cpu().to(dtype).contiguous() for name, value in network.state_dict().items()
    }
    _replace(path, {"model": state})
    tree = detectron2_tree(network.architecture, network.config)
    text = yaml.safe_dump(tree, sort_keys=False, default_flow_style=None)
    path.with_suffix(".yaml").write_text(text, encoding="utf-8")
    return path


def rate(step: int, total: int, recipe: FasterRCNNRecipe) -> float:
    """Learning rate at a step, as a share of the peak: linear warm-up, then cosine or steps."""
    warm = min(1.0, (step + 1) / recipe.warmup)
    if recipe.optimizer == "sgd":
        return warm * 0.1 ** sum(step >= fall for fall in recipe.steps)
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(step / total, 1.0))))


def _optimizer(network: FasterRCNN, recipe: FasterRCNNRecipe) -> torch.optim.Optimizer:
    trunk = [p for name, p in network.named_parameters() if "bottom_up" in name and p.requires_grad]
    rest = [p for name, p in network.named_parameters() if "bottom_up" not in name]
    groups = [{"params": rest, "lr": recipe.lr}, {"params": trunk, "lr": recipe.trunk_lr}]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, weight_decay=recipe.weight_decay)
    return torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)


def _step(
    network: FasterRCNN,
    optimizer: torch.optim.Optimizer,
    batch: tuple[Tensor, list[tuple[int, int]], list[dict[str, Tensor]]],
    device: str,
) -> dict[str, float]:
    images, sizes, targets = batch
    images = images.to(device, memory_format=torch.channels_last)
    targets = [{name: value.to(device) for name, value in target.items()} for target in targets]
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        dense = network.dense(images)
    # Box arithmetic and the losses need float32.
    dense = Dense(*([tensor.float() for tensor in level] for level in dense))
    losses = network.select(dense, sizes, targets)[1]
    loss = sum(losses.values())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()
    return {"loss": loss.item(), **{name: value.item() for name, value in losses.items()}}


def _aspect_ratio(path: Path) -> float:
    with Image.open(path) as file:
        return file.width / file.height


def _replace(path: Path, content: Any) -> None:
    """Save so that a run that dies half-way leaves the old file whole."""
    partial = path.with_suffix(path.suffix + ".partial")
    torch.save(content, partial)
    os.replace(partial, path)
