"""The upper-limb part of FracAtlas as a data set of this project's classes, made from the original download.

FracAtlas: I. Abedeen and others, "FracAtlas: A Dataset for Fracture Classification, Localization and
Segmentation of Musculoskeletal Radiographs", Scientific Data 10, 521 (2023), doi:10.1038/s41597-023-02432-4;
figshare 22363012, CC BY 4.0. It has one class, "fractured". The table beside this module says for each image
that is used its split, the near twins that it forms a group with, and the site of each of its boxes in the
order of FracAtlas' own label rows; one reader, no radiologist, read the sites from the pictures.
"""

from __future__ import annotations

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from bonefx.errors import DatasetError
from bonefx.labels import DATASET_CLASSES

NAME = "FracAtlasUpper"
TABLE = Path(__file__).with_name("table.csv")

CLASS_OF_SITE = {
    "elbow": "elbow positive",
    "fingers": "fingers positive",
    "forearm": "forearm fracture",
    "humerus": "humerus",
    "shoulder": "shoulder fracture",
    "wrist": "wrist positive",
}

_FOLDERS = ("images/Fractured", "images/Non_fractured")
_LABELS = "Annotations/YOLO"
_REGIONS = "dataset.csv"


@dataclass(frozen=True)
class TableRow:
    """A row of the table."""

    image: str
    split: str
    group: str
    sites: tuple[str, ...]


def read_table(path: Path = TABLE) -> list[TableRow]:
    """The rows of the table."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [
            TableRow(row["image"], row["split"], row["group"], tuple(row["sites"].split()))
            for row in csv.DictReader(file)
        ]


def make(original: Path, out: Path, table: Path = TABLE) -> int:
    """Write the data set in YOLO format: data.yaml, table.csv, SPLIT/images and SPLIT/labels.

    Args:
        original: the unpacked download, with `images/Fractured`, `images/Non_fractured`, `Annotations/YOLO`
            and `dataset.csv`.
        out: a new folder; images are copied into it byte by byte.
        table: which images, see `TABLE`.

    Returns:
        The number of images.

    Raises:
        DatasetError: `original` is not laid out so, does not hold what the table names, or contradicts it; or
            `out` is there already.
    """
    for part in (*_FOLDERS, _LABELS, _REGIONS):
        if not (original / part).exists():
            raise DatasetError(f"{original} is not FracAtlas' original download: it has no {part}.")
    if out.exists():
        raise DatasetError(f"{out} is there already. Choose a new folder.")
    entries = read_table(table)
    found = [(entry, _image(original, entry), _rows(original, entry)) for entry in entries]
    _check_regions(original / _REGIONS, entries)
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for entry, image, rows in found:
        for part in ("images", "labels"):
            (partial / entry.split / part).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, partial / entry.split / "images" / image.name)
        text = "".join(f"{row}\n" for row in rows)
        (partial / entry.split / "labels" / f"{entry.image}.txt").write_text(text, encoding="utf-8")
    shutil.copyfile(table, partial / "table.csv")
    scheme = {"train": "train/images", "val": "valid/images", "names": list(DATASET_CLASSES)}
    (partial / "data.yaml").write_text(yaml.safe_dump(scheme, sort_keys=False), encoding="utf-8")
    partial.rename(out)
    return len(found)


def _image(original: Path, entry: TableRow) -> Path:
    for folder in _FOLDERS:
        path = original / folder / f"{entry.image}.jpg"
        if path.is_file():
            return path
    raise DatasetError(f"{original} has no image {entry.image}.jpg: is the download complete?")


def _rows(original: Path, entry: TableRow) -> list[str]:
    """Label rows with this project's classes; the coordinates keep FracAtlas' own digits."""
    path = original / _LABELS / f"{entry.image}.txt"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    rows = [row.split() for row in text.splitlines() if row.strip()]
    if len(rows) != len(entry.sites) or any(len(row) != 5 for row in rows):
        raise DatasetError(
            f"{path} has {len(rows)} boxes and the table {len(entry.sites)} sites: this is another version "
            "of FracAtlas than the table is about."
        )
    return [
        " ".join([str(DATASET_CLASSES.index(CLASS_OF_SITE[site])), *row[1:]])
        for row, site in zip(rows, entry.sites, strict=True)
    ]


def _check_regions(path: Path, entries: list[TableRow]) -> None:
    """Every image of the table must be a hand or a shoulder by FracAtlas' own table, and no leg or hip."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = {Path(row["image_id"]).stem: row for row in csv.DictReader(file)}
    for entry in entries:
        row = rows.get(entry.image)
        if row is None or "1" not in (row["hand"], row["shoulder"]) or "1" in (row["leg"], row["hip"]):
            raise DatasetError(f"{path} does not say of {entry.image} that it shows an upper limb.")
