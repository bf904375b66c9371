"""What a metrics file looks like, as types that pydantic checks: what is read has them, or is refused.

None stands where nobody knows a value: files of others state less than what is measured here.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Len
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from bonefx.errors import MetricsError, quoted
from bonefx.labels import CLASSES

REPORT_VERSION = 5  # 1 to 3 were the original application's; 4 had no strata, calibration and home

T = TypeVar("T")
Rule = Literal["any_fracture", "class_aware", "lenient"]
"""What counts as a hit: one of `bonefx.evaluation.froc.RULES`."""

# --- values ------------------------------------------------------------------------------------------------

_LARGEST = 1e15  # above any count or time; the page computes with what is below
Number = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, le=_LARGEST, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Difference = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=int(_LARGEST))]
Text = Annotated[str, Len(1, 5000)]
Shares = list[Share | None]


def _rising(ends: list[float]) -> list[float]:
    if ends[0] > ends[1]:
        raise ValueError("must be [lower, upper]")
    return ends


def _of_one_length(columns: T) -> T:
    if len(set(map(len, columns.values()))) != 1:  # type: ignore[attr-defined]
        raise ValueError("must be lists of one length")
    return columns


def _known_class(label: str) -> str:
    if label not in (*CLASSES, "fracture"):
        raise ValueError("must be a known class")
    return label


Interval = Annotated[list[Share], Len(2, 2), AfterValidator(_rising)]
"""Lower and upper limit."""

IntervalOfDifference = Annotated[list[Difference], Len(2, 2), AfterValidator(_rising)]

Columns = AfterValidator(_of_one_length)

# --- parts -------------------------------------------------------------------------------------------------

_whole = with_config(ConfigDict(strict=True, extra="forbid"))


@_whole
class Point(TypedDict):
    """An operating point: `n` of `lesions` are found at `threshold`; `reached`: the curve goes so far."""

    fp_per_image: Rate
    sensitivity: Share | None
    n: Count | None
    lesions: Count | None
    threshold: Share | None
    reached: bool
    interval: Interval | None


@_whole
class Curve(TypedDict):
    """The corners of a FROC curve, as columns."""

    fp_per_image: list[Rate]
    sensitivity: list[Share]
    threshold: Shares


@_whole
class Band(TypedDict):
    """The 95 % limits of a FROC curve, as columns."""

    fp_per_image: list[Rate]
    low: list[Share]
    high: list[Share]


@_whole
class Froc(TypedDict):
    """By one rule of `bonefx.evaluation.froc.RULES`."""

    points: list[Point]
    curve: Annotated[Curve, Columns] | None
    band: Annotated[Band, Columns] | None


@_whole
class FrocByRule(TypedDict):
    any_fracture: Froc | None
    class_aware: Froc | None
    lenient: Froc | None


@_whole
class ImagePoint(TypedDict):
    """An image is called positive at the threshold of this operating point."""

    fp_per_image: Rate
    threshold: Share | None
    sensitivity: Share | None
    sensitivity_interval: Interval | None
    specificity: Share | None
    specificity_interval: Interval | None


@_whole
class ImageLevel(TypedDict):
    positive: Count
    negative: Count
    auc: Share | None
    auc_interval: Interval | None
    points: list[ImagePoint]


@_whole
class ClassFigures(TypedDict):
    label: Annotated[str, AfterValidator(_known_class)]
    boxes: Count | None
    ap: Share | None
    ap50: Share | None
    ar_100: Share | None


@_whole
class PrecisionRecall(TypedDict):
    recall: list[Share]
    precision: Shares


@_whole
class Coco(TypedDict):
    """pycocotools' figures."""

    ap: Share | None
    ap50: Share | None
    ap75: Share | None
    ap_small: Share | None
    ap_medium: Share | None
    ap_large: Share | None
    ar_1: Share | None
    ar_10: Share | None
    ar_100: Share | None
    ar_small: Share | None
    ar_medium: Share | None
    ar_large: Share | None
    per_class: list[ClassFigures]
    precision_recall: Annotated[PrecisionRecall, Columns] | None


@_whole
class RuntimeRecord(TypedDict):
    engine: Text
    precision: Text
    device: Text


@_whole
class MemberRecord(TypedDict):
    """A weight file that the figures are of."""

    file: Text
    sha256: Text | None
    source: Text | None
    repo: Text | None
    revision: Text | None
    nms: Text | None
    image_size: Count | None
    runtime: RuntimeRecord | None


@_whole
class Detector(TypedDict):
    """What was measured; `method` says how several members were fused."""

    id: Text
    name: Text
    method: Text | None
    members: list[MemberRecord]


@_whole
class AucDifference(TypedDict):
    difference: Difference | None
    interval: IntervalOfDifference | None


@_whole
class FrocDifference(TypedDict):
    fp_per_image: Rate
    difference: Difference | None
    interval: IntervalOfDifference | None


@_whole
class FrocDifferences(TypedDict):
    any_fracture: list[FrocDifference]
    class_aware: list[FrocDifference] | None
    lenient: list[FrocDifference]


@_whole
class Comparison(TypedDict):
    """With another detector on the same images: this one minus that one."""

    detector: Detector
    froc: FrocDifferences
    auc: AucDifference


_BoxesPerClass = TypedDict("_BoxesPerClass", dict.fromkeys(CLASSES, Count))  # type: ignore[misc]


@_whole
class DatasetRecord(TypedDict):
    """`Dataset.summary`."""

    name: Text
    split: Text
    sha256: Text | None
    images: Count | None
    boxes: Count | None
    fracture_free: Count | None
    boxes_per_class: _BoxesPerClass | None
    problems: Count | None


@_whole
class StratumPoint(TypedDict):
    fp_per_image: Rate
    n: Count
    sensitivity: Share
    interval: Interval | None


@_whole
class Stratum(TypedDict):
    """The lesions of one kind."""

    name: Text
    lesions: Count
    points: list[StratumPoint]


@_whole
class Strata(TypedDict):
    size: list[Stratum]
    site: list[Stratum]


@_whole
class Bins(TypedDict):
    """Of a reliability plot, as columns."""

    low: list[Share]
    high: list[Share]
    probability: list[Share]
    share: list[Share]
    n: list[Count]


@_whole
class CalibrationRecord(TypedDict):
    slope: Rate | None
    offset: Number | None
    fitted_on: list[DatasetRecord]
    bins: Annotated[Bins, Columns]
    ece: Share | None
    ece_interval: Interval | None


@_whole
class Home(TypedDict):
    """This minus the figures on the data set that the training knows best."""

    dataset: DatasetRecord
    any_fracture: list[FrocDifference]
    auc: AucDifference


@_whole
class Timing(TypedDict):
    ms_per_image: dict[str, Rate]
    processor: Text


@_whole
class Report(TypedDict):
    """A metrics file: `measured` by this project's protocol, or `reported` by others."""

    schema_version: Literal[5]
    kind: Literal["measured", "reported"]
    created: Text
    notes: list[Text]
    protocol: dict[str, Number] | None
    dataset: DatasetRecord
    detector: Detector
    versions: dict[str, Text]
    timing: Timing | None
    coco: Coco
    froc: FrocByRule
    image_level: ImageLevel | None
    strata: Strata | None
    calibration: CalibrationRecord | None
    home: Home | None
    comparisons: list[Comparison]


_MEASURED = (  # what is measured here has it all
    "protocol",
    "image_level",
    "strata",
    "froc.any_fracture",
    "froc.lenient",
    *(f"dataset.{name}" for name in ("sha256", "images", "boxes", "fracture_free", "boxes_per_class")),
    "dataset.problems",
)

_REPORT = TypeAdapter(Report)


def validate(report: Any) -> Report:
    """A report of this version, as its type.

    Raises:
        MetricsError: naming the first field that breaks the schema.
    """
    if isinstance(report, dict) and report.get("schema_version") != REPORT_VERSION:
        version = report.get("schema_version")
        raise MetricsError(
            f"The metrics file has schema_version {quoted(version)}; this BoneFX reads {REPORT_VERSION}. "
            "Use the BoneFX that wrote it, or evaluate again."
        )
    made = checked(_REPORT, report)
    for path in _MEASURED if made["kind"] == "measured" else ():
        value: Any = made
        for key in path.split("."):
            value = value[key]
        if value is None:
            raise MetricsError(f"The metrics file breaks its schema: {path} is missing.")
    return made


def checked(adapter: TypeAdapter[T], value: Any) -> T:
    """A part of a metrics file, as its type.

    Raises:
        MetricsError: naming the first field that breaks the schema.
    """
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in first["loc"])
        words = _SAID.get(first["type"]) or f"{_must(first['msg'])}, not {first['input']!r:.60}"
        name = where.removeprefix(".") or "the file"
        raise MetricsError(f"The metrics file breaks its schema: {name} {words}.") from None


_SAID = {"missing": "is missing", "extra_forbidden": "is not a known field"}


def _must(message: str) -> str:
    """Pydantic's message as the end of a sentence."""
    words = re.sub("^(Value error, |Input |String |List )", "", message)
    return re.sub(" after validation, not .*", "", words.replace("should", "must", 1))
