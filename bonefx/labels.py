"""Class names: the seven of the data set, and the six that every result and every figure uses."""

from __future__ import annotations

CLASSES: tuple[str, ...] = (
    "elbow positive",
    "fingers positive",
    "forearm fracture",
    "humerus",
    "shoulder fracture",
    "wrist positive",
)
"""The unified classes. A `class_id` is always an index into this tuple."""

DATASET_CLASSES: tuple[str, ...] = (
    "elbow positive",
    "fingers positive",
    "forearm fracture",
    "humerus fracture",
    "humerus",
    "shoulder fracture",
    "wrist positive",
)
"""The classes of the BoneFractureYolo8 label files, in their order."""

_MERGED = {"humerus fracture": "humerus"}


def class_id(label: str) -> int:
    """The unified class of a data set's or a model's own label.

    Upper case, surrounding blanks and underscores do not matter.

    Raises:
        KeyError: the label names none of the classes.
    """
    name = " ".join(label.replace("_", " ").lower().split())
    try:
        return CLASSES.index(_MERGED.get(name, name))
    except ValueError:
        raise KeyError(label) from None
