"""A study's figures as text: a table, and what may be chance."""

from __future__ import annotations

from collections.abc import Callable

from bonefx.inference import CHOICES
from bonefx.numbers import UNKNOWN, counted
from bonefx.quiz.figures import FIGURES, Figure
from bonefx.quiz.study import ARMS, Result

_NAMES = {
    "jafroc": "JAFROC figure of merit",
    "sensitivity": "Fractures found",
    "specificity": "Intact cases left unmarked",
    "false_alarms_per_image": "False alarms per image",
}
_BETTER = {"jafroc": 1, "sensitivity": 1, "specificity": 1, "false_alarms_per_image": -1}


def in_words(result: Result) -> list[str]:
    """Lines for a terminal."""
    plan, readers = result.plan, len(result.complete)
    how = "at once" if plan.washout_days is None else f"after {plan.washout_days:g} days"
    lines = [
        f"Reader study of {len(plan.cases)} cases, read alone and {how} with marks: {readers} of "
        f"{counted(plan.readers, 'reader')} with all answers, {result.answers} answers "
        "in all.",
    ]
    for model, hashes in result.weights.items():
        seen = ", ".join(each[:12] for each in hashes) or "never shown"
        lines.append(f"Marks of {CHOICES[model].name if model in CHOICES else model}, weights {seen}.")
    if any(len(hashes) > 1 for hashes in result.weights.values()):
        lines.append("The weights changed during the study: the marks were not the same for all.")
    found = result.comparison
    if found is None:
        return [*lines, "Nobody has answered everything yet, so there are no figures."]
    rows: list[tuple[str, ...]] = [("", "alone", "with marks", "difference (95 % interval)")]
    for name in FIGURES:
        both = [_value(name, found.arms[arm][name]) for arm in ARMS]
        rows.append((_NAMES[name], *both, _difference(name, found.differences[name])))
    rows.append(("Seconds a case, median", *(f"{found.seconds[arm]:.1f}" for arm in ARMS), ""))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines += [
        "",
        *("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows),
        "",
    ]
    lines += [_verdict(name, found.differences[name]) for name in FIGURES]
    if found.readers == 1:
        lines.append("There was one reader: the intervals are about other cases, not about other people.")
    lines.append(
        "Intervals: bootstrap over readers and cases (Beiden, Wagner and Campbell 2000); figure of merit: "
        "JAFROC (Chakraborty and Berbaum 2004). Each line is judged by itself. Research and education, not a "
        "medical device."
    )
    return lines


def _verdict(name: str, difference: Figure) -> str:
    if difference.value is None or difference.interval is None:
        return f"{_NAMES[name]}: not defined on these cases."
    low, high = difference.interval
    if low <= 0 <= high:
        return f"{_NAMES[name]}: the difference may be chance, for its interval holds 0."
    better = difference.value * _BETTER[name] > 0
    return f"{_NAMES[name]}: {'better' if better else 'worse'} with marks than chance explains."


def _value(name: str, figure: Figure) -> str:
    if figure.value is None:
        return UNKNOWN
    write = _writer(name)
    interval = "" if figure.interval is None else f" ({'–'.join(map(write, figure.interval))})"
    return write(figure.value) + interval


def _difference(name: str, figure: Figure) -> str:
    if figure.value is None:
        return UNKNOWN
    write = _writer(name)

    def signed(value: float) -> str:
        return ("+" if value >= 0 else "−") + write(abs(value))

    interval = "" if figure.interval is None else f" ({' to '.join(map(signed, figure.interval))})"
    return signed(figure.value) + interval


def _writer(name: str) -> Callable[[float], str]:
    if name in ("sensitivity", "specificity"):
        return lambda value: f"{100 * value:.1f} %"
    return lambda value: f"{value:.3f}" if name == "jafroc" else f"{value:.2f}"
