"""What a metrics file looks like, and the check that a value read from outside does look like it.

A check is a function of a value and its place in the file; it raises `MetricsError` naming that place.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

from bonefx.errors import MetricsError, quoted
from bonefx.labels import CLASSES

REPORT_VERSION = 5  # 1 to 3 were the original application's; 4 had no strata, calibration and home

MAX_NUMBER = 1e15  # above any count or time; the page computes with what is below
MAX_TEXT = 5000

Check = Callable[[Any, str], None]


def _fail(where: str, expected: str, value: Any) -> None:
    raise MetricsError(f"The metrics file breaks its schema: {where} must be {expected}, not {value!r:.60}.")


def text(value: Any, where: str) -> None:
    """Any string but the empty one."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        _fail(where, f"a text of at most {MAX_TEXT} characters", value)


def number(low: float = -MAX_NUMBER, high: float = MAX_NUMBER) -> Check:
    """A finite number from `low` to `high`."""

    def check(value: Any, where: str) -> None:
        # A comparison takes a whole number of any length, and what is not finite is in no range.
        if isinstance(value, bool) or not isinstance(value, Real) or not abs(value) <= MAX_NUMBER:  # type: ignore[operator]
            _fail(where, "a number", value)
        if not low <= value <= high:
            _fail(where, f"in [{low:g}, {high:g}]", value)

    return check


def count(value: Any, where: str) -> None:
    """A whole number from 0 on."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= value <= MAX_NUMBER:  # type: ignore[operator]
        _fail(where, "a whole number from 0 on", value)


def one_of(*allowed: Any) -> Check:
    """One of these values, of the same type."""

    def check(value: Any, where: str) -> None:
        if not any(value == other and type(value) is type(other) for other in allowed):
            _fail(where, " or ".join(map(repr, allowed)), value)

    return check


def maybe(inner: Check) -> Check:
    """None, or what `inner` wants."""

    def check(value: Any, where: str) -> None:
        if value is not None:
            inner(value, where)

    return check


def many(inner: Check, length: int | None = None) -> Check:
    """A list."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, list) or length not in (None, len(value)):
            _fail(where, "a list" if length is None else f"a list of {length}", value)
        for i, item in enumerate(value):
            inner(item, f"{where}[{i}]")

    return check


def each(inner: Check) -> Check:
    """An object whose keys are free."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            _fail(where, "an object", value)
        for key, item in value.items():
            inner(item, f"{where}.{key}")

    return check


def fields(**inner: Check) -> Check:
    """An object with these keys and no other."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            _fail(where, "an object", value)
        for key in inner.keys() - value.keys():
            raise MetricsError(f"The metrics file breaks its schema: {where}.{key} is missing.")
        for key in value.keys() - inner.keys():
            raise MetricsError(f"The metrics file breaks its schema: {where}.{key} is not a known field.")
        for key, check_item in inner.items():
            check_item(value[key], f"{where}.{key}" if where else key)

    return check


def columns(**inner: Check) -> Check:
    """An object of lists of one length."""

    def check(value: Any, where: str) -> None:
        fields(**{key: many(item) for key, item in inner.items()})(value, where)
        if len({len(item) for item in value.values()}) != 1:
            _fail(where, "lists of one length", {key: len(item) for key, item in value.items()})

    return check


def _span(low: float, high: float) -> Check:
    """An interval, [lower, upper]; None where it is undefined."""

    def check(value: Any, where: str) -> None:
        many(number(low, high), length=2)(value, where)
        if value[0] > value[1]:
            _fail(where, "[lower, upper]", value)

    return maybe(check)


_share = number(0, 1)
_rate = number(0)
_span_of_share = _span(0, 1)

_POINT = fields(
    fp_per_image=_rate,
    sensitivity=maybe(_share),
    n=maybe(count),
    lesions=maybe(count),
    threshold=maybe(_share),
    reached=one_of(True, False),
    interval=_span_of_share,
)
_FROC = fields(
    points=many(_POINT),
    curve=maybe(columns(fp_per_image=_rate, sensitivity=_share, threshold=maybe(_share))),
    band=maybe(columns(fp_per_image=_rate, low=_share, high=_share)),
)
_IMAGE_POINT = fields(
    fp_per_image=_rate,
    threshold=maybe(_share),
    sensitivity=maybe(_share),
    sensitivity_interval=_span_of_share,
    specificity=maybe(_share),
    specificity_interval=_span_of_share,
)
_IMAGE_LEVEL = fields(
    positive=count,
    negative=count,
    auc=maybe(_share),
    auc_interval=_span_of_share,
    points=many(_IMAGE_POINT),
)
_COCO_FIGURES = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large"),
)
_COCO = fields(
    **dict.fromkeys(_COCO_FIGURES, maybe(_share)),
    per_class=many(
        fields(
            label=one_of(*CLASSES, "fracture"),
            boxes=maybe(count),
            ap=maybe(_share),
            ap50=maybe(_share),
            ar_100=maybe(_share),
        )
    ),
    precision_recall=maybe(columns(recall=_share, precision=maybe(_share))),
)
_MEMBER = fields(
    file=text,
    sha256=maybe(text),
    source=maybe(text),
    repo=maybe(text),
    revision=maybe(text),
    nms=maybe(text),
    image_size=maybe(count),
    runtime=maybe(fields(engine=text, precision=text, device=text)),
)
_DETECTOR = fields(id=text, name=text, method=maybe(text), members=many(_MEMBER))
_DIFFERENCE = {"difference": maybe(number(-1, 1)), "interval": _span(-1, 1)}
_DIFFERENCES = many(fields(fp_per_image=_rate, **_DIFFERENCE))
_COMPARISON = fields(
    detector=_DETECTOR,
    froc=fields(any_fracture=_DIFFERENCES, class_aware=maybe(_DIFFERENCES), lenient=_DIFFERENCES),
    auc=fields(**_DIFFERENCE),
)
_DATASET = {
    "name": text,
    "split": text,
    "sha256": text,
    "images": count,
    "boxes": count,
    "fracture_free": count,
    "boxes_per_class": fields(**dict.fromkeys(CLASSES, count)),
    "problems": count,
}
_STRATUM = fields(
    name=text,
    lesions=count,
    points=many(fields(fp_per_image=_rate, n=count, sensitivity=_share, interval=_span_of_share)),
)
_CALIBRATION = fields(
    slope=maybe(number(0)),
    offset=maybe(number()),
    fitted_on=many(fields(**_DATASET)),
    bins=columns(low=_share, high=_share, probability=_share, share=_share, n=count),
    ece=maybe(_share),
    ece_interval=_span_of_share,
)
_HOME = fields(dataset=fields(**_DATASET), any_fracture=_DIFFERENCES, auc=fields(**_DIFFERENCE))


def _report(measured: bool) -> Check:
    """What was measured here has it all; what others reported has what they reported."""

    def need(check: Check) -> Check:
        return check if measured else maybe(check)

    return fields(
        schema_version=one_of(REPORT_VERSION),
        kind=one_of("measured" if measured else "reported"),
        created=text,
        notes=many(text),
        protocol=need(each(number())),
        dataset=fields(
            **{name: check if name in ("name", "split") else need(check) for name, check in _DATASET.items()}
        ),
        detector=_DETECTOR,
        versions=each(text),
        timing=maybe(fields(ms_per_image=each(_rate), processor=text)),
        coco=_COCO,
        froc=fields(any_fracture=need(_FROC), class_aware=maybe(_FROC), lenient=need(_FROC)),
        image_level=need(_IMAGE_LEVEL),
        strata=need(fields(size=many(_STRATUM), site=many(_STRATUM))),
        calibration=maybe(_CALIBRATION),
        home=maybe(_HOME),
        comparisons=many(_COMPARISON),
    )


_MEASURED, _REPORTED = _report(measured=True), _report(measured=False)


def validate(report: Any) -> None:
    """Check a report of this version.

    Raises:
        MetricsError: naming the first field that breaks the schema.
    """
    each(lambda value, where: None)(report, "the file")
    version = report.get("schema_version")
    if version != REPORT_VERSION:
        raise MetricsError(
            f"The metrics file has schema_version {quoted(version)}; this BoneFX reads {REPORT_VERSION}. "
            "Use the BoneFX that wrote it, or evaluate again."
        )
    one_of("measured", "reported")(report.get("kind"), "kind")
    (_MEASURED if report["kind"] == "measured" else _REPORTED)(report, "")
