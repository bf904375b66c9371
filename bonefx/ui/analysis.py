"""From a file to results, one step at a time, so that the page can tell what it waits for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bonefx import images, inference
from bonefx.detectors import MODELS, Registry
from bonefx.results import Outcome
from bonefx.sources.client import Progress
from bonefx.sources.hub import WeightFile
from bonefx.ui.background import Tell, in_background
from bonefx.ui.example_files import ExampleFiles
from bonefx.ui.example_results import ExampleResults, bundled
from bonefx.ui.examples import Example
from bonefx.ui.session import DOWNLOADS, Session, Workspace
from bonefx.ui.viewer.component import viewer_image


def open_image(path: Path, choice: int, workspace: Workspace) -> Session:
    """Read an upload and prepare what the browser shows of it.

    Raises:
        ImageError: the file cannot be read.
    """
    radiograph = images.read(path)
    folder = _new_folder(workspace)
    alt = f"The uploaded image, {radiograph.width} by {radiograph.height} pixels"
    record = viewer_image(radiograph, folder, alt)
    return Session(path, folder, record, images.unlike_radiograph(radiograph), choice=choice)


def open_example(
    example: Example, choice: int, workspace: Workspace, files: ExampleFiles, outcomes: tuple[Outcome, ...]
) -> Session:
    """An example with the results that are kept of it, or none."""
    folder = _new_folder(workspace)
    return Session(example.path, folder, files.record(example), None, example, outcomes, choice)


def kept_outcomes(example: Example, registry: Registry, results: ExampleResults) -> tuple[Outcome, ...]:
    """What is kept of an example: of the weights in use or, until these are settled, of the bundled ones."""
    weights = settled_weights(registry)
    if weights is None:
        return bundled(example)
    loaded = {model_id: registry.loaded(model_id) for model_id in MODELS}
    reasons = {model_id: each.notes for model_id, each in loaded.items() if each is not None}
    found = results.find(example, weights)
    return tuple(replace(each, notes=(*each.notes, *reasons.get(each.model, ()))) for each in found)


def settled_weights(registry: Registry) -> dict[str, WeightFile] | None:
    """Each model's weights, once it is known of all which are used."""
    settled = {model_id: registry.known_weights(model_id) for model_id in MODELS}
    known = {model_id: weights for model_id, weights in settled.items() if weights is not None}
    return known if len(known) == len(MODELS) else None


def are_in_use(outcomes: Sequence[Outcome], registry: Registry) -> bool:
    """Whether outcomes are those of the weights in use, as far as that is known of all models.

    One that failed before there were weights is what the weights in use gave.
    """
    settled = settled_weights(registry)
    return settled is not None and all(
        outcome.weights is None
        or outcome.model not in settled
        or settled[outcome.model].sha256 == outcome.weights.sha256
        for outcome in outcomes
    )


def run_models(session: Session, registry: Registry, results: ExampleResults) -> Iterator[str | Session]:
    """Run every model on the session's image, once, for all that the page shows.

    Yields:
        What is waited for, in words, several times a second even if nothing has changed, so that a
        caller can stop between two of them; last the session with its outcomes. Dropping the iterator
        cancels: a download stops, a forward pass that has begun ends unheard.

    Raises:
        ImageError: the file is gone or cannot be read any more.
    """

    def work(tell: Tell) -> None:
        def report(model_id: str, progress: Progress) -> None:
            tell(f"{MODELS[model_id].name}: {progress.text()}")

        radiograph = images.read(session.file)
        outcomes = inference.run(radiograph, list(MODELS), registry, report)
        if session.example is not None:
            results.keep(session.example, outcomes)
        tell(outcomes)

    words = "Starting"
    for news in in_background(work):
        if isinstance(news, tuple):
            yield replace(session, outcomes=news)
            return
        words = news or words
        yield words


def _new_folder(workspace: Workspace) -> Path:
    folder = workspace.new_folder()
    (folder / DOWNLOADS).mkdir()
    return folder
