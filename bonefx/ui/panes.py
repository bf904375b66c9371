"""From outcomes to what the viewers show, and the words about weights that stand below them."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bonefx.detectors import MODELS
from bonefx.evaluation.report import Report, operating_point, threshold_for
from bonefx.inference import Outcome
from bonefx.settings import DEFAULT_THRESHOLD, NOTICE
from bonefx.ui.session import Session
from bonefx.ui.viewer import viewer_pane, viewer_value

RATES = {0.125: "1/8", 0.25: "1/4", 0.5: "1/2", 1.0: "1", 2.0: "2", 4.0: "4", 8.0: "8"}
"""False positives per image that can be chosen, as people write them."""

STRICTER = 4
"""Lines are solid from the operating point that allows a quarter of the chosen false positives."""

_NO_DETECTION = 1.0  # where no threshold reaches a rate: nothing is shown
_SOURCES = {"local": "local file", "hub": "from the Hub", "bundled": "bundled demo weights"}

ReportFor = Callable[[Outcome], "Report | None"]
Choice = Mapping[str, Any]
"""What the visitor has set in a viewer: `thresholds` by model id, and `point`, an index or None."""


def default_choice() -> dict[str, Any]:
    """Before anything was set: 1 false alarm per image where that is known, else the default threshold."""
    return {"thresholds": dict.fromkeys(MODELS, DEFAULT_THRESHOLD), "point": list(RATES).index(1.0)}


def value(session: Session, model_ids: Sequence[str], choice: Choice, report_for: ReportFor) -> dict | None:
    """What a viewer with these models shows."""
    if session.image is None:
        return None
    operating = _operating(session, model_ids, choice, report_for)
    panes = [_pane(session.outcome(model_id), model_id, choice) for model_id in model_ids]
    if operating["points"] and operating["selected"] is not None:
        point = operating["points"][operating["selected"]]
        for pane in panes:
            pane["threshold"] = point["thresholds"].get(pane["id"], pane["threshold"])
            pane["strict"] = point["strict"].get(pane["id"])
            pane["note"] = point["notes"].get(pane["id"], pane["note"])
    truth = None if session.example is None else session.example.lesions
    return viewer_value(
        session.image,
        panes,
        ground_truth=truth,
        operating=operating,
        notice=NOTICE,
    )


def _pane(outcome: Outcome | None, model_id: str, choice: Choice) -> dict[str, Any]:
    name = MODELS[model_id].name
    if outcome is None:
        return viewer_pane(model_id, name, None, None, error="not run yet")
    threshold = choice["thresholds"][model_id]
    if outcome.error is not None:
        return viewer_pane(model_id, name, None, None, error=outcome.error)
    seconds = outcome.timings_ms["total"] / 1000
    took = f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"
    subtitle = f"{_SOURCES[outcome.weights['source']]} · {took} on {outcome.runtime.device}"
    return viewer_pane(model_id, name, outcome.detections, threshold, subtitle=subtitle)


def _operating(
    session: Session, model_ids: Sequence[str], choice: Choice, report_for: ReportFor
) -> dict[str, Any]:
    outcomes = [o for o in map(session.outcome, model_ids) if o is not None and o.detections is not None]
    reports = {outcome.model: report_for(outcome) for outcome in outcomes}
    missing = [MODELS[model_id].name for model_id, report in reports.items() if report is None]
    if missing or not reports:
        names = " and ".join(missing)
        words = f"No metrics belong to the weights of {names}: only raw scores can be set." if missing else ""
        return {"points": [], "selected": None, "message": words}
    points = [
        {
            "label": label,
            "thresholds": {m: _threshold(report, rate) for m, report in reports.items()},
            "strict": {m: _threshold(report, rate / STRICTER) for m, report in reports.items()},
            "notes": {m: _sensitivity(report, rate) for m, report in reports.items()},
        }
        for rate, label in RATES.items()
    ]
    return {"points": points, "selected": choice["point"], "message": ""}


def _threshold(report: Report, rate: float) -> float:
    threshold = threshold_for(report, rate)
    return _NO_DETECTION if threshold is None else threshold


def _sensitivity(report: Report, rate: float) -> str:
    point = operating_point(report, rate)
    if point is None or point["sensitivity"] is None:
        return ""
    interval = ""
    if point["interval"]:
        low, high = point["interval"]
        interval = f" ({100 * low:.0f} to {100 * high:.0f} %)"
    share = f"{100 * point['sensitivity']:.0f} % of fractures{interval}"
    return f"finds {share} at this point, measured on {report['dataset']['images']} images"


def provenance(session: Session) -> str:
    """Where each model's weights came from, as HTML; loud but calm where they are the bundled demo's."""
    cards = []
    for outcome in session.outcomes:
        name = html.escape(MODELS[outcome.model].name)
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in outcome.notes)
        notes = f"<ul>{notes}</ul>" if notes else ""
        if outcome.weights is None:
            cards.append(f"<section class='weights'><h3>{name}</h3>{notes}</section>")
            continue
        weights = outcome.weights
        where = html.escape(weights["repo"] or _SOURCES[weights["source"]])
        if weights["revision"]:
            where += f" at {html.escape(weights['revision'][:8])}"
        demo = ""
        if weights["source"] == "bundled":
            demo = (
                "<p class='demo'><strong>Demo weights.</strong> These small weights travel with the app; "
                "they are not the published model. They have seen real radiographs only, and miss most "
                "fractures of the phantoms.</p>"
            )
        runtime = outcome.runtime
        cards.append(
            f"<section class='weights {weights['source']}'><h3>{name}</h3>{demo}"
            f"<p><code>{html.escape(weights['file'])}</code>, {where}, "
            f"SHA-256 <code title='{weights['sha256']}'>{weights['sha256'][:12]}…</code></p>"
            f"<p>{html.escape(runtime.engine)}, {runtime.precision}, {html.escape(runtime.device)}; "
            f"{html.escape(outcome.nms)}; {outcome.image_size} px</p>{notes}</section>"
        )
    return f"<div class='provenance'>{''.join(cards)}</div>" if cards else ""


def thresholds_of(viewer_value: Mapping[str, Any] | None) -> dict[str, float]:
    """The threshold of each pane of a viewer's value, by model id."""
    panes = (viewer_value or {}).get("panes", [])
    return {pane["id"]: pane["threshold"] for pane in panes if pane["threshold"] is not None}
