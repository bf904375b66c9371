"""Batches for the Faster R-CNN: which images, how they are changed, and how they become tensors.

The order of the images follows from (seed, epoch) and what happens to them from (seed, step), so that a
step's batch is the same whichever process loads it, and whatever was loaded before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from bonefx.detectors.faster_rcnn import normalise, resize
from bonefx.detectors.faster_rcnn.config import FasterRCNNConfig
from bonefx.training.data import Reader, Sample
from bonefx.training.recipes import FasterRCNNRecipe


class Batch(NamedTuple):
    """What a training step needs.

    Attributes:
        images: normalised, float32 (b, 3, h, w), zero-padded to the largest of the batch.
        sizes: (height, width) of each before padding.
        targets: for each image `boxes` (n, 4) in pixels and `labels` (n,) from 1.
        random_state: of torch after loading, which the step goes on from.
    """

    images: Tensor
    sizes: list[tuple[int, int]]
    targets: list[dict[str, Tensor]]
    random_state: Tensor


def groups(ratios: np.ndarray, batch: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Indices of each batch of an epoch: shuffled, with images of like width / height together."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(ratios))
    window = 16 * batch  # wide enough to find alike shapes, narrow enough to stay random
    sorted_windows = [
        part[np.argsort(ratios[part], kind="stable")]
        for part in np.split(order, range(window, len(order), window))
    ]
    order = np.concatenate(sorted_windows)
    whole = [order[i : i + batch] for i in range(0, len(order) - batch + 1, batch)]
    return [whole[i] for i in rng.permutation(len(whole))]


def loader(
    samples: Sequence[Sample],
    read: Reader,
    members: Sequence[np.ndarray],
    first_step: int,
    recipe: FasterRCNNRecipe,
    divisor: int,
    workers: int,
) -> DataLoader[Batch]:
    """A `Batch` for each of `members`, the first at `first_step`, loaded ahead by `workers` processes."""
    steps = _Steps(samples, read, members, first_step, recipe, divisor)
    return DataLoader(steps, batch_size=None, num_workers=workers, collate_fn=_as_it_is)


def seed_step(recipe: FasterRCNNRecipe, step: int) -> None:
    """Make every random draw that follows, on every device, one of this step."""
    torch.manual_seed(recipe.seed * 1_000_003 + step)


class _Steps(Dataset):
    def __init__(
        self,
        samples: Sequence[Sample],
        read: Reader,
        members: Sequence[np.ndarray],
        first_step: int,
        recipe: FasterRCNNRecipe,
        divisor: int,
    ) -> None:
        self.samples, self.read, self.members, self.first_step = samples, read, members, first_step
        self.recipe, self.divisor = recipe, divisor
        self.augment = augmentation(recipe)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, place: int) -> Batch:
        seed_step(self.recipe, self.first_step + place)
        samples = [self.samples[i] for i in self.members[place]]
        loaded = [load_sample(s, self.read(s.path), self.recipe, self.augment) for s in samples]
        return collate(loaded, self.recipe.config, self.divisor)


def augmentation(recipe: FasterRCNNRecipe) -> v2.Transform:
    """The recipe's random changes of an image and its boxes."""
    steps: list[v2.Transform] = [v2.RandomHorizontalFlip()]
    if recipe.degrees or recipe.translate or recipe.scale:
        steps.append(
            v2.RandomAffine(
                recipe.degrees,
                (recipe.translate, recipe.translate),
                (1 - recipe.scale, 1 + recipe.scale),
                interpolation=v2.InterpolationMode.BILINEAR,
            )
        )
    if recipe.brightness or recipe.contrast:
        steps.append(v2.ColorJitter(brightness=recipe.brightness, contrast=recipe.contrast))
    return v2.Compose([*steps, v2.ClampBoundingBoxes(), v2.SanitizeBoundingBoxes(min_size=4)])


def load_sample(
    sample: Sample, grey: np.ndarray, recipe: FasterRCNNRecipe, augment: v2.Transform
) -> tuple[np.ndarray, dict[str, Tensor]]:
    """The resized, changed image (h, w, 3), its three channels the same, and its target."""
    rng = np.random.default_rng(int(torch.randint(2**31, ())))
    sample, grey = recipe.views.draw(sample, grey, rng)
    resized = resize(grey, recipe.config.min_size, recipe.config.max_size)
    scale = np.array([resized.shape[1] / grey.shape[1], resized.shape[0] / grey.shape[0]] * 2)
    boxes = torch.from_numpy((sample.boxes * scale).astype(np.float32))
    image, target = augment(
        tv_tensors.Image(torch.from_numpy(resized.copy())[None]),
        {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=resized.shape),
            "labels": torch.from_numpy(sample.class_ids) + 1,
        },
    )
    target["boxes"] = target["boxes"].as_subclass(Tensor)
    return np.broadcast_to(image[0].numpy()[:, :, None], (*image.shape[1:], 3)), target


def collate(
    loaded: Sequence[tuple[np.ndarray, dict[str, Tensor]]], config: FasterRCNNConfig, divisor: int
) -> Batch:
    """Put images and targets into one batch."""
    padded = [torch.from_numpy(normalise(rgb, config, divisor)[0]) for rgb, _ in loaded]
    height = max(image.shape[1] for image in padded)
    width = max(image.shape[2] for image in padded)
    images = torch.zeros(len(padded), 3, height, width)
    for row, image in zip(images, padded, strict=True):
        row[:, : image.shape[1], : image.shape[2]] = image
    sizes = [rgb.shape[:2] for rgb, _ in loaded]
    return Batch(images, sizes, [target for _, target in loaded], torch.get_rng_state())


def _as_it_is(batch: Any) -> Any:
    return batch
