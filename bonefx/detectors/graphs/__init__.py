"""Graphs on disk: a network in OpenVINO's format, made by `bonefx.detectors.conversion`, and its card.

A graph is three files: `<name>.<form>.xml`, `.bin` and `.json`, the card, which says what weights it was made
from, what is done before and after it, and how well it agrees with them. They lie beside the weights, or in
the cache. Like weights they are data, and used only if they are whole and belong to the weights in use.
Nothing here imports OpenVINO.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from bonefx.detectors.graphs import cache
from bonefx.errors import SourceError, WeightsError
from bonefx.files import open_regular
from bonefx.provenance import versions
from bonefx.sources.hub import MAX_CARD_BYTES, WeightFile, sha256_of

FORMAT = 1
"""Raised whenever graphs that were made before must not be used any more."""

FORMS = ("float", "int8")
"""A graph computes in float32 or bfloat16 (`float`), or with weights and activations of 8 bits (`int8`)."""

MADE_WITH = ("bonefx", "openvino", "torch", "ultralytics-opencv-headless", "nncf")


@dataclass(frozen=True)
class Card:
    """What belongs to a graph.

    Attributes:
        model: name of its module.
        form: one of `FORMS`.
        weights, config: SHA-256 of the weight file, and of the YAML beside it if there was one.
        processing: what `Processing.from_record` reads.
        xml, bin: SHA-256 of the graph's files.
        versions: of what made it.
        checks: by precision, how well it agrees with float32, and whether that was enough: `passed`.
        float_layers: of eight bits: beginnings of the names of the layers that are none.
        calibration: of eight bits: the images that it was calibrated on, in words.
    """

    model: str
    form: str
    weights: str
    config: str | None
    processing: Mapping[str, Any]
    xml: str
    bin: str
    versions: Mapping[str, str]
    checks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    float_layers: tuple[str, ...] = ()
    calibration: str = ""

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Card:
        """The other way round.

        Raises:
            WeightsError: it is no card, or one of another version of BoneFX.
        """
        try:
            values = json.loads(text)
            if values.pop("format") != FORMAT:
                raise WeightsError("it was made by another version of BoneFX")
            values = {each.name: values[each.name] for each in fields(cls)}
            card = cls(**{**values, "float_layers": tuple(values["float_layers"])})
            texts = (card.model, card.form, card.weights, card.xml, card.bin, card.calibration)
            tables = (card.processing, card.versions, card.checks, *card.checks.values())
            if not all(isinstance(text, str) for text in texts):
                raise TypeError("a text is expected")
            if not all(isinstance(table, dict) for table in tables):
                raise TypeError("a table is expected")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise WeightsError(f"its card is damaged ({error})") from error
        return card

    def passed(self, precision: str) -> bool:
        """Whether it was found to agree with float32 in this precision."""
        return self.checks.get(precision, {}).get("passed") is True


@dataclass(frozen=True)
class Graph:
    """A whole graph that belongs to the weights in use; `path` is its file in XML."""

    path: Path
    card: Card


def card_path(folder: Path, stem: str, form: str) -> Path:
    """Where the card of a graph of `<stem>.pth` or `.pt` lies in a folder."""
    return folder / f"{stem}.{form}.json"


def files(card: Path) -> tuple[Path, Path, Path]:
    """A graph's three files, the card first."""
    return card, card.with_suffix(".xml"), card.with_suffix(".bin")


def read(card: Path, model: str, weights: WeightFile) -> Graph:
    """The graph of a card, all of it read and compared.

    Raises:
        WeightsError: it is damaged, or belongs to something else; the reason as half a sentence.
    """
    try:
        with open_regular(card, MAX_CARD_BYTES) as file:
            found = Card.from_json(file.read().decode())
        if (found.model, found.weights) != (model, weights.sha256) or found.config != config_sha256(weights):
            raise WeightsError("it was made from other weights or settings")
        _, xml, binary = files(card)
        if (sha256_of(xml), sha256_of(binary)) != (found.xml, found.bin):
            raise WeightsError("its files are damaged")
    except (OSError, SourceError, UnicodeDecodeError) as error:
        raise WeightsError(f"it cannot be read ({error})") from error
    return Graph(xml, found)


def find(model: str, weights: WeightFile, cached: Path | None) -> tuple[dict[str, Graph], list[str]]:
    """The graphs that there are of these weights, by form, and why others that lie there are not used."""
    found: dict[str, Graph] = {}
    problems = []
    folders = [(weights.path.parent, weights.path.stem)]
    if cached is not None:
        folders += [(folder, model) for folder in cache.find(cached, folder_name(model, weights))]
    for folder, stem in folders:
        for form in FORMS:
            card = card_path(folder, stem, form)
            if form in found or not card.exists():
                continue
            try:
                graph = read(card, model, weights)
                if graph.card.form != form:
                    raise WeightsError("its card says another form")
                found[form] = graph
            except WeightsError as error:
                problems.append(f"The graph {card.name} is not used: {error}.")
    return found, problems


def folder(cache_dir: Path) -> Path:
    """Where in the cache graphs are that were made here."""
    return cache_dir / "graphs"


def config_sha256(weights: WeightFile) -> str | None:
    """Of the YAML beside the weights."""
    return None if weights.config is None else sha256_of(weights.config)


def folder_name(model: str, weights: WeightFile) -> str:
    """In the cache: another one for everything that could make another graph."""
    parts = [FORMAT, versions(MADE_WITH), model, weights.sha256, config_sha256(weights)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
