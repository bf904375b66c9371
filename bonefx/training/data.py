"""The training split: read strictly, divided by groups of copies, handed out image by image.

Evaluation leaves out what it cannot use and says so; training refuses, for nobody would notice later that
a third of the labels was never learnt.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from bonefx import images
from bonefx.errors import DatasetError, ImageError
from bonefx.evaluation import folder, label_file, predict
from bonefx.evaluation.dataset import Dataset, LabelledImage, fold

SPLIT = "train"
_SHOWN = 5  # problems that a message lists


@dataclass(frozen=True, eq=False)
class Sample:
    """A training image with its lesions.

    Attributes:
        path: the image file.
        width, height: pixels after EXIF rotation.
        boxes: float64 (n, 4), corners x1, y1, x2, y2 in pixels.
        class_ids: int64 (n,), indices into `bonefx.labels.CLASSES`.
        own_ids: int64 (n,), the data set's own class indices.
        polygons: for each lesion float32 (k, 2), its corners as fractions of width and height; the four of
            the box where the label row is a box.
    """

    path: Path
    width: int
    height: int
    boxes: np.ndarray
    class_ids: np.ndarray
    own_ids: np.ndarray
    polygons: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The images to train on.

    Attributes:
        dataset: the same images as ground truth.
        names: the data set's own classes.
        samples: one an image, in the order of `dataset`; after them those of data that were mixed in.
    """

    dataset: Dataset
    names: tuple[str, ...]
    samples: tuple[Sample, ...]

    def subset(self, indices: Sequence[int] | np.ndarray) -> TrainingData:
        """The images at these indices, which must rise."""
        return TrainingData(self.dataset.subset(indices), self.names, tuple(self.samples[i] for i in indices))

    def repeated(self, times: float, seed: int) -> TrainingData:
        """The same data, with each image `times` times among the samples.

        A fraction is that share of the images once more; which ones, `seed` decides.
        """
        whole, number = int(times), len(self.samples)
        chosen = np.random.default_rng(seed).permutation(number)[: round((times - whole) * number)]
        return replace(self, samples=self.samples * whole + tuple(self.samples[i] for i in np.sort(chosen)))

    def mixed_with(self, other: TrainingData) -> TrainingData:
        """The same data, and to learn from also the images of another set.

        Raises:
            DatasetError: the two do not have the same classes.
        """
        if other.names != self.names:
            raise DatasetError(
                f"The classes of {self.dataset.name} ({', '.join(self.names)}) are not those of "
                f"{other.dataset.name} ({', '.join(other.names)})."
            )
        return replace(self, samples=self.samples + other.samples)


def load(root: Path) -> TrainingData:
    """Read the training split of a data set in YOLO format (see `bonefx.evaluation.folder.load`).

    Raises:
        DatasetError: the folder is not laid out like that, a label row is bad, an image is missing, or no
            image has a lesion. A row that only repeats another is passed over.
    """
    dataset = folder.load(root, SPLIT)
    problems = [problem for problem in dataset.problems if not problem.repeats]
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems[:_SHOWN])
        more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DatasetError(
            f"{root}, {SPLIT}, has entries that cannot be used. Correct or delete them:\n{listed}{more}"
        )
    if not dataset.tells_sites:
        raise DatasetError(
            f"{root} has one class, which does not say where a fracture is: models learn sites."
        )
    if not len(dataset.bbox):
        raise DatasetError(f"{root}, {SPLIT}, has no lesion in any image: there is nothing to learn from.")
    scheme = label_file.read_scheme(Path(root))
    rows = [row for image in dataset.images for row in _rows(image, scheme)]
    per_image = np.split(np.arange(len(rows)), np.cumsum(dataset.lesions)[:-1])
    samples = tuple(
        Sample(
            image.file,
            image.width,
            image.height,
            dataset.boxes[mine],
            dataset.class_ids[mine],
            np.array([rows[i].own_id for i in mine], dtype=np.int64),
            tuple(rows[i].polygon.astype(np.float32) for i in mine),
        )
        for image, mine in zip(dataset.images, per_image, strict=True)
    )
    return TrainingData(dataset, scheme.names, samples)


def mix(parts: Sequence[TrainingData]) -> TrainingData:
    """One training set of several, see `TrainingData.mixed_with`."""
    mixture, *others = parts
    for other in others:
        mixture = mixture.mixed_with(other)
    return mixture


def read_image(path: Path) -> np.ndarray:
    """The image as RGB uint8 (h, w, 3).

    Raises:
        DatasetError: the file cannot be decoded; it is named.
    """
    try:
        return images.read(path).rgb
    except ImageError as error:
        raise DatasetError(f"The training image {path.name} cannot be used. {error}") from None


class Reader:
    """Reads training images as grey ones, for radiographs have no colour, and keeps them.

    Decoding takes longer than a change of the picture. What is read before worker processes start is shared
    with them.
    """

    def __init__(self, long_side: int, memory: int = 8 * 2**30) -> None:
        """
        Args:
            long_side: in pixels, that larger images are made smaller to.
            memory: bytes of images that are kept; the others are read again each time.
        """
        self._long_side, self._memory = long_side, memory
        self._kept: dict[Path, np.ndarray] = {}

    def __call__(self, path: Path) -> np.ndarray:
        """The image, uint8 (h, w), not larger than `long_side`.

        Raises:
            DatasetError: the file cannot be decoded; it is named.
        """
        kept = self._kept.get(path)
        if kept is not None:
            return kept
        image = Image.fromarray(read_image(path)).convert("L")
        factor = self._long_side / max(image.size)
        if factor < 1:
            size = [max(round(side * factor), 1) for side in image.size]
            image = image.resize(size, Image.Resampling.BOX)
        grey = np.asarray(image)
        if grey.nbytes <= self._memory:
            self._memory -= grey.nbytes
            self._kept[path] = grey
        return grey

    def read_ahead(self, paths: Iterable[Path]) -> None:
        """Read images, several at a time.

        Raises:
            DatasetError: a file cannot be decoded; it is named.
        """
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(self, dict.fromkeys(paths)):
                pass


def readable(data: TrainingData) -> TrainingData:
    """The data without the images that cannot be read, which are named: a file may be cut off or damaged.

    Raises:
        DatasetError: none can be read.
    """
    kept = {image.file_name for image in predict.readable(data.dataset).images}
    return data.subset([i for i, image in enumerate(data.dataset.images) if image.file_name in kept])


def hold_out(data: TrainingData) -> tuple[TrainingData, Dataset]:
    """Set a fold aside for tuning; all copies of a source image stay on one side.

    Raises:
        DatasetError: one side would be without a lesion.
    """
    kept, held = fold(data.dataset.images)
    train, tuning = data.subset(kept), data.dataset.subset(held)
    if not len(train.dataset.bbox) or not len(tuning.bbox):
        raise DatasetError(
            "There are too few images with a lesion to hold some out. Train without --hold-out."
        )
    return train, tuning


def _rows(image: LabelledImage, scheme: label_file.Scheme) -> list[label_file.Row]:
    """The label rows of an image, those that its lesions come from."""
    if image.label_path is None:
        return []
    rows, _ = label_file.parse(image.label_path.read_bytes(), scheme)
    return rows
