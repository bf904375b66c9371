"""Many images, one after the other: a row of results for each, and all of it to take away.

Nothing here holds more than one picture. A file that cannot be read is a row that says why.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bonefx import __version__, dicom_results, export, images, inference
from bonefx.detectors import MODELS, Registry
from bonefx.drawing import thumbnail
from bonefx.entries import Entry, Opener
from bonefx.errors import ImageError
from bonefx.files import add_member, whole
from bonefx.images import Radiograph
from bonefx.interchange import FORMAT_TITLES, FORMATS
from bonefx.results import RESULT_VERSION, Outcome
from bonefx.settings import NOTICE
from bonefx.sources.client import Progress

if TYPE_CHECKING:
    from pydicom import Dataset

Put = Callable[[str, bytes], None]
"""Stores a file under a relative name."""

ToResults = Callable[[Sequence[Outcome]], Sequence[dict[str, Any]]]
"""From one image's outcomes to as many results: at which thresholds is the caller's choice."""


@dataclass(frozen=True, eq=False)
class Row:
    """One file of a batch, and what the models found in it.

    Attributes:
        name: the entry's name; `image` of its results.
        results: as `Outcome.to_result` makes them, one a model.
        radiograph: the image; None where the file could not be read, and each result says why.
        header: of a DICOM image, where reports are wanted: what they take over. It names a patient.
        no_report: why there is none, although the image is a DICOM file.
        outcomes: what was found, whatever its score.
    """

    name: str
    results: tuple[dict[str, Any], ...]
    radiograph: Radiograph | None = None
    header: Dataset | None = field(default=None, repr=False)
    no_report: str | None = None
    outcomes: tuple[Outcome, ...] = ()

    @property
    def error(self) -> str | None:
        """Why the file could not be read."""
        return self.results[0]["error"] if self.radiograph is None else None

    @property
    def failed(self) -> bool:
        """Whether a model has no result, or none has."""
        return any("error" in result for result in self.results)

    def thumbnail(self, size: int) -> bytes | None:
        """A JPEG of at most `size` pixels on its long side."""
        if self.radiograph is None:
            return None
        file = io.BytesIO()
        thumbnail(self.radiograph.rgb, size).save(file, "JPEG", quality=75)
        return file.getvalue()


def run(
    entries: Sequence[Entry],
    model_ids: Sequence[str],
    answer: ToResults,
    registry: Registry | None = None,
    progress: Callable[[str], None] = lambda words: None,
    scratch: Path | None = None,
    reports: bool = False,
) -> Iterator[Row]:
    """Read each file and run the models on it.

    Args:
        entries: from `entries.collect`.
        model_ids: ids of the models, in the order of each row's results.
        answer: makes the results of each image.
        registry: the models; None takes those of this process.
        progress: told what is being done, such as "12 of 40: arm.png". What it raises ends the run.
        scratch: where archives are unpacked; None takes the system's place for temporary files.
        reports: whether DICOM reports are to be made, so that each row keeps the header that they need.

    Raises:
        RequestError: a model is unknown.
    """
    with Opener(scratch) as opener:
        for number, entry in enumerate(entries, 1):
            place = f"{number} of {len(entries)}: {entry.name}"
            progress(place)

            def tell(model_id: str, step: Progress, place: str = place) -> None:
                progress(f"{place} ({MODELS[model_id].name}: {step.text()})")

            radiograph: Radiograph | None = None
            header: tuple[Dataset | None, str | None] = (None, None)
            try:
                with opener.open(entry) as path:
                    radiograph = replace(images.read(path), name=entry.name)
                    if reports:
                        header = _header(path)
                outcomes = list(inference.run(radiograph, model_ids, registry, tell, patient=True))
            except ImageError as error:
                outcomes = [Outcome(entry.name, 0, 0, model, error=str(error)) for model in model_ids]
            yield Row(entry.name, tuple(answer(outcomes)), radiograph, *header, outcomes=tuple(outcomes))


def _header(path: Path) -> tuple[Dataset | None, str | None]:
    """`Row.header` and `Row.no_report` of an image file."""
    try:
        return dicom_results.header(path), None
    except ImageError as error:
        return None, str(error)


def save_folder(rows: Iterable[Row], folder: Path, formats: Collection[str] = ()) -> Iterator[Row]:
    """Write what a person takes away into a folder, while the rows pass through; see `save_archive`.

    Args:
        rows: from `run`.
        folder: where to; it is made.
        formats: of `interchange.FORMATS`, each written into a folder of its name.

    Raises:
        OSError: a file cannot be written. It is named, and no part of it is left.
    """

    def put(name: str, content: bytes) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as file:
            file.write(content)

    yield from _save(rows, put, formats)


def save_archive(rows: Iterable[Row], path: Path) -> Generator[Row, None, None]:
    """Write what a person takes away into a ZIP archive, while the rows pass through.

    It has an annotated PNG for each image that could be read, `annotated/001-NAME.png`, and after the last
    row `results.json`, `results.csv` and `README.txt`. It is whole when the iterator has ended, be it
    exhausted or closed, or by a failure of the rows: then it has what was finished until then.
    """
    with zipfile.ZipFile(path, "w") as archive:

        def put(name: str, content: bytes) -> None:
            add_member(archive, name, content, stored=name.endswith(".png"))

        yield from _save(rows, put, FORMATS)


def _save(rows: Iterable[Row], put: Put, formats: Collection[str]) -> Iterator[Row]:
    results: list[dict[str, Any]] = []
    pictures: dict[str, str] = {}
    complete = False
    try:
        for number, row in enumerate(rows, 1):
            if row.radiograph is not None:
                name = f"annotated/{number:03d}-{file_name(row.name)}.png"
                file = io.BytesIO()
                # Higher levels cost seconds, and save little on radiographs.
                export.annotated(row.radiograph, row.results).save(file, "PNG", compress_level=1)
                put(name, file.getvalue())
                pictures[row.name] = name
            if row.header is not None:
                row = _reported(row, f"dicom/{number:03d}-{file_name(row.name)}", put)
            results += row.results
            yield row
        complete = True
    finally:
        head = {"schema_version": RESULT_VERSION, "complete": complete, "pictures": pictures}
        put("results.json", export.to_json(results, **head).encode())
        put("results.csv", export.to_csv(results).encode())
        for name in formats:
            for path, text in FORMATS[name](results):
                put(path, text.encode())
        put("README.txt", _readme(results, complete, formats).encode())


def _reported(row: Row, name: str, put: Put) -> Row:
    """Write the DICOM reports on a row; the row, which says so where there can be none."""
    if row.radiograph is None:
        return row
    try:
        for ending, content in dicom_results.documents(row.header, row.radiograph, row.results):
            put(f"{name}-{ending}.dcm", content)
    except ImageError as error:
        return replace(row, no_report=str(error))
    return row


def file_name(name: str) -> str:
    """What is left of a name, without its ending, that every file system takes."""
    stem = re.sub(r"\.[A-Za-z]{1,5}$", "", name.rpartition("/")[2])
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", stem).strip("._")[:60] or "image"


def _readme(results: Sequence[dict[str, Any]], complete: bool, formats: Collection[str]) -> str:
    titles = [(name, FORMAT_TITLES[name]) for name in formats]
    made_by = dict.fromkeys(
        f"- {result['model']}: {export.weights_in_words(result)}, threshold {result['threshold']:.4g}"
        for result in results
        if "error" not in result
    )
    failed = dict.fromkeys(
        f"- {result['image']}: {result['error']}" for result in results if "error" in result
    )
    parts = [
        f"BoneFX {__version__}: fracture detection on upper-limb radiographs.\n{NOTICE}",
        "annotated/    each image with the detections drawn in, numbered in the order of the batch\n"
        "results.json  one result for each image and model; `pictures` names the files of annotated/\n"
        "results.csv   the same as a table: a row for each detection, or one that says there is none"
        + "".join(f"\n{name + '/':<14}the same for tools that read {title}" for name, title in titles),
        "Made by (weights, where they came from, start of their SHA-256):\n" + "\n".join(made_by),
        "No result:\n" + "\n".join(failed),
        "An image without a detection above the threshold is not an image without a fracture.",
    ]
    if not failed:
        del parts[3]
    if not complete:
        parts.insert(1, "The batch was ended early: this is what was finished until then.")
    return "\n\n".join(parts) + "\n"
