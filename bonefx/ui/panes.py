"""From outcomes to what the viewers show, and the words about weights that stand below them."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bonefx.evaluation.report import Report
from bonefx.inference import CHOICES, Outcome
from bonefx.settings import DEFAULT_THRESHOLD, NOTICE
from bonefx.ui.operating import DEFAULT_RATE, RATES, viewer_points
from bonefx.ui.session import Session
from bonefx.ui.viewer import viewer_pane, viewer_value

_SOURCES = {"local": "local file", "hub": "from the Hub", "bundled": "bundled demo weights"}

ReportFor = Callable[[Outcome], "Report | None"]


def value(session: Session, model_ids: Sequence[str], report_for: ReportFor) -> dict[str, Any] | None:
    """What a viewer with these models shows, before a visitor's own choice of a threshold or a point.

    Two models come with the view of where they agree.
    """
    if session.image is None:
        return None
    return viewer_value(
        session.image,
        [_pane(session.outcome(model_id), model_id) for model_id in model_ids],
        ground_truth=None if session.example is None else session.example.lesions,
        operating=_operating(session, model_ids, report_for),
        agreement_of=model_ids if len(model_ids) == 2 else (),
        notice=NOTICE,
    )


def _pane(outcome: Outcome | None, model_id: str) -> dict[str, Any]:
    name = CHOICES[model_id].name
    if outcome is None:
        return viewer_pane(model_id, name, None, None, error="not run yet")
    if outcome.error is not None:
        return viewer_pane(model_id, name, None, None, error=outcome.error)
    seconds = outcome.timings_ms["total"] / 1000
    took = f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"
    if outcome.members:
        subtitle = f"of {_names(member['model'] for member in outcome.members)} · {took}"
    else:
        subtitle = f"{_SOURCES[outcome.weights['source']]} · {took} on {outcome.runtime.device}"
    return viewer_pane(model_id, name, outcome.detections, DEFAULT_THRESHOLD, subtitle=subtitle)


def _operating(session: Session, model_ids: Sequence[str], report_for: ReportFor) -> dict[str, Any]:
    outcomes = [o for o in map(session.outcome, model_ids) if o is not None and o.detections is not None]
    reports = {outcome.model: report_for(outcome) for outcome in outcomes}
    missing = [model_id for model_id, report in reports.items() if report is None]
    if missing or not reports:
        words = f"No metrics belong to the weights of {_names(missing)}: only raw scores can be set."
        return {"points": [], "selected": None, "message": words if missing else ""}
    selected = list(RATES).index(DEFAULT_RATE)
    return {"points": viewer_points(reports), "selected": selected, "message": ""}


def _names(model_ids: Iterable[str]) -> str:
    return " and ".join(CHOICES[model_id].name for model_id in model_ids)


def provenance(session: Session, model_ids: Sequence[str]) -> str:
    """Where these models' weights came from, as HTML; loud but calm where they are the bundled demo's."""
    outcomes = [outcome for outcome in map(session.outcome, model_ids) if outcome is not None]
    cards = [_fusion(outcome) if outcome.members else _weights(outcome) for outcome in outcomes]
    return f"<div class='provenance'>{''.join(cards)}</div>" if cards else ""


def _weights(outcome: Outcome) -> str:
    demo, facts, source = "", "", ""
    if outcome.weights is not None:
        source = outcome.weights["source"]
        runtime = outcome.runtime
        facts = (
            f"<p>{_file(outcome.weights)}</p>"
            f"<p>{html.escape(runtime.engine)}, {runtime.precision}, {html.escape(runtime.device)}; "
            f"{html.escape(outcome.nms)}; {outcome.image_size} px</p>"
        )
    if source == "bundled":
        demo = (
            "<p class='demo'><strong>Demo weights.</strong> These small weights travel with the app; "
            "they are not the published model. They learnt from one public set of real radiographs and "
            "from synthetic phantoms; how good they are was measured on real radiographs only.</p>"
        )
    return _card(outcome, source, demo + facts)


def _fusion(outcome: Outcome) -> str:
    parts = [
        f"<p>{html.escape(CHOICES[member['model']].name)}: {_file(member['weights'])}</p>"
        for member in outcome.members
        if member["weights"] is not None
    ]
    return _card(outcome, "", "".join(parts))


def _card(outcome: Outcome, source: str, content: str) -> str:
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in outcome.notes)
    notes = f"<ul>{notes}</ul>" if notes else ""
    name = html.escape(CHOICES[outcome.model].name)
    return f"<section class='weights {source}'><h3>{name}</h3>{content}{notes}</section>"


def _file(weights: Mapping[str, Any]) -> str:
    """A weight file, where it came from, and its hash."""
    where = html.escape(weights["repo"] or _SOURCES[weights["source"]])
    if weights["revision"]:
        where += f" at {html.escape(weights['revision'][:8])}"
    return (
        f"<code>{html.escape(weights['file'])}</code>, {where}, "
        f"SHA-256 <code title='{weights['sha256']}'>{weights['sha256'][:12]}…</code>"
    )
