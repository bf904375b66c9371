"""From a session to what the viewer shows, and the words about weights that stand beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bonefx.detectors import MODELS
from bonefx.dicom_results import looks_like_dicom
from bonefx.evaluation.report import Report
from bonefx.inference import CHOICES, pair_of
from bonefx.results import Outcome, Source, Weights
from bonefx.settings import DEFAULT_THRESHOLD
from bonefx.ui.operating import DEFAULT_RATE, RATES, calibration_in, viewer_points
from bonefx.ui.session import Session
from bonefx.ui.storage import KEPT_MINUTES
from bonefx.ui.viewer.component import viewer_pane, viewer_value

PRIVACY = (
    f"Your own image: remove names and other identifying marks first. It stays on this server for at most "
    f"{KEPT_MINUTES} minutes, and is used for nothing but your results."
)
_SOURCES = {"local": "a local file", "hub": "the Hub", "bundled": "the app itself"}

ReportFor = Callable[[Outcome], "Report | None"]


def value(
    session: Session,
    report_for: ReportFor,
    *,
    elsewhere_for: ReportFor = lambda outcome: None,
    settled: bool | None = True,
) -> dict[str, Any] | None:
    """What the viewer shows, before a visitor's own choice of a threshold or a point; None without an image.

    Args:
        session: the image and its outcomes, if the models have run.
        report_for: the metrics that belong to an outcome.
        elsewhere_for: those on hospital pictures: what is said of a visitor's own picture.
        settled: whether these weights are sure to be the ones in use; None: nobody has asked yet.
    """
    if session.image is None:
        return None
    return viewer_value(
        session.image,
        [_pane(session.outcome(model_id), model_id, report_for) for model_id in MODELS],
        ground_truth=None if session.example is None else session.example.lesions,
        operating=_operating(session, report_for, elsewhere_for),
        agreement_of=pair_of(None),
        about={**_about(session), "settled": settled},
    )


def empty(choice: int) -> dict[str, Any]:
    """What the viewer shows without an image."""
    return {**viewer_value({}, []), "image": None, "about": {"choice": choice, "privacy": PRIVACY}}


def _about(session: Session) -> dict[str, Any]:
    """What is said beside the picture.

    choice: the number of the visitor's choice; example: its id, or None; name, title: of the image; warning,
    privacy: for the person; done: whether there are results; deletable: whether the image is the visitor's
    own; dicom: whether there can be a DICOM report on it; weights: which these are, in a few words; demo:
    whether they are the bundled ones; sha256: their hashes; details: for each model its name, facts (term and
    value) and notes.
    """
    ours = session.example
    shown = [outcome for outcome in session.outcomes if outcome.model in MODELS]
    sources = {outcome.weights.source for outcome in shown if outcome.weights is not None}
    return {
        "choice": session.choice,
        "example": None if ours is None else ours.id,
        "name": session.file.name if ours is None else ours.short,
        "title": session.file.name if ours is None else f"Synthetic phantom, no patient · {ours.title}",
        "warning": session.warning or "",
        "done": bool(session.outcomes),
        "deletable": ours is None,
        "dicom": looks_like_dicom(session.file),
        "privacy": PRIVACY,
        "demo": "bundled" in sources,
        "weights": _weights_in_words(shown, sources),
        "sha256": {o.model: o.weights.sha256 for o in shown if o.weights is not None},
        "details": [_details(outcome) for outcome in session.outcomes],
    }


def _weights_in_words(outcomes: Sequence[Outcome], sources: set[Source]) -> str:
    if not sources:
        return ""
    if sources == {"bundled"}:
        return "These small weights travel with the app; they are not the published models."
    known = [(CHOICES[o.model].name, o.weights) for o in outcomes if o.weights is not None]
    return " ".join(f"{name}: from {file.repo or _SOURCES[file.source]}." for name, file in known)


def _pane(outcome: Outcome | None, model_id: str, report_for: ReportFor) -> dict[str, Any]:
    name, look = CHOICES[model_id].name, CHOICES[model_id].look
    if outcome is None:
        return viewer_pane(model_id, name, None, None, error="no result yet", look=look)
    if outcome.error is not None:
        return viewer_pane(model_id, name, None, None, error=outcome.error, look=look)
    known = calibration_in(report_for(outcome))
    share = None if known is None else (known.slope, known.offset)
    return viewer_pane(model_id, name, outcome.detections, DEFAULT_THRESHOLD, share=share, look=look)


def _operating(session: Session, report_for: ReportFor, elsewhere_for: ReportFor) -> dict[str, Any]:
    """The points on offer: where all models have metrics. The consensus takes part if it has some, too."""
    outcomes = [outcome for outcome in session.outcomes if outcome.detections is not None]
    reports = {outcome.model: report_for(outcome) for outcome in outcomes}
    missing = [model_id for model_id in MODELS if model_id in reports and reports[model_id] is None]
    known = {model_id: report for model_id, report in reports.items() if report is not None}
    if missing or not known:
        names = " and ".join(CHOICES[model_id].name for model_id in missing)
        words = f"No metrics belong to the weights of {names}: only scores can be set."
        return {"points": [], "selected": None, "message": words if missing else "", "measured": ""}
    own = session.example is None
    elsewhere = {outcome.model: elsewhere_for(outcome) for outcome in outcomes if own}
    measured = [elsewhere.get(model_id) or report for model_id, report in known.items()]
    images = sorted({report["dataset"]["images"] or 0 for report in measured})
    where = f"Measured on {' or '.join(map(str, images))} real radiographs of one public data set."
    otherwise = [words for outcome in outcomes if (words := _otherwise(outcome, reports[outcome.model]))]
    return {
        "points": viewer_points(known, elsewhere),
        "selected": list(RATES).index(DEFAULT_RATE),
        "message": "",
        "measured": " ".join([where, *otherwise]),
    }


def _otherwise(outcome: Outcome, report: Report | None) -> str:
    """That a model was measured in another number format than it computed in; empty if it was not."""
    if report is None or outcome.runtime is None:
        return ""
    (member,) = report["detector"]["members"]
    measured, here = member["runtime"]["precision"] if member["runtime"] else None, outcome.runtime.precision
    if measured in (None, here):
        return ""
    return f"{CHOICES[outcome.model].name} was measured in {measured}; this was computed in {here}."


def _details(outcome: Outcome) -> dict[str, Any]:
    """A model's weights, what computed, and how long it took."""
    facts: list[tuple[str, str]] = []
    if outcome.weights is not None:
        facts += _file(outcome.weights)
    if outcome.runtime is not None:
        runtime = outcome.runtime
        facts.append(("Computed by", f"{runtime.engine}, {runtime.precision}, {runtime.device}"))
        facts.append(("Input", f"{outcome.image_size} px; NMS {outcome.nms}"))
    if outcome.timings_ms and outcome.weights is not None:
        seconds = outcome.timings_ms["total"] / 1000
        facts.append(("Time", f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"))
    return {
        "model": outcome.model,
        "name": CHOICES[outcome.model].name,
        "facts": [list(fact) for fact in facts],
        "notes": list(outcome.notes),
        "error": outcome.error or "",
    }


def _file(weights: Weights) -> list[tuple[str, str]]:
    """A weight file, where it came from, and its hash."""
    source = weights.repo or _SOURCES[weights.source]
    revision = f", commit {weights.revision}" if weights.revision else ""
    return [
        ("Weights", f"{weights.file}, from {source}{revision}"),
        ("SHA-256", weights.sha256),
    ]
