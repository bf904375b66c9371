"""Class names: the seven of the data set, and the six that every result and every figure uses."""

from __future__ import annotations

from collections.abc import Sequence

CLASSES: tuple[str, ...] = (
    "elbow positive",
    "fingers positive",
    "forearm fracture",
    "humerus",
    "shoulder fracture",
    "wrist positive",
)
"""The unified classes. A `class_id` is always an index into this tuple."""

ANY_SITE = len(CLASSES)
"""The class id of a fracture in a data set of one class, which does not tell sites. No model predicts it."""

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

_PLACES: tuple[str, ...] = ("elbow", "fingers", "forearm", "humerus", "shoulder", "wrist")

_MERGED = {"humerus fracture": "humerus"}


def scheme_ids(names: Sequence[str]) -> tuple[int, ...]:
    """The unified class of each class of a data set; `ANY_SITE` if its only class is a fracture as such.

    Raises:
        KeyError: a name that is none of the classes.
    """
    if len(names) == 1 and "fractur" in names[0].lower() and _plain(names[0]) not in DATASET_CLASSES:
        return (ANY_SITE,)
    return tuple(map(class_id, names))


def class_id(label: str) -> int:
    """The unified class of a data set's or a model's own label.

    Upper case, surrounding blanks and underscores do not matter.

    Raises:
        KeyError: the label names none of the classes.
    """
    name = _plain(label)
    try:
        return CLASSES.index(_MERGED.get(name, name))
    except ValueError:
        raise KeyError(label) from None


def place(label: str) -> str:
    """A person's word for one of `CLASSES`: the place alone. Any other text is its own word."""
    return _PLACES[CLASSES.index(label)] if label in CLASSES else label


def _plain(label: str) -> str:
    return " ".join(label.replace("_", " ").lower().split())
