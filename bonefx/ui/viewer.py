"""The viewer: an image with the boxes of one or several models, side by side, moved together.

It is one `gr.HTML` component. Its markup, style and scripts are the files of `static/viewer/`; they ask no
other host, and fetch nothing but the image: zoom, window, thresholds and operating points are the browser's.
This module makes the component and the values that it shows. A value is plain data:

    image           {"file", "deep", "width", "height", "alt"}, see `viewer_image`
    panes           see `viewer_pane`; boxes above `strict` are solid, those only above `threshold` dashed
    ground_truth    None, or [{"label", "box", "found": {pane id: score of its detection, or None}}]
    operating       None, or {"points": [{"label", "fp_per_image", "thresholds", "strict", "notes"}],
                    "selected", "message"}; `thresholds`, `strict` and `notes` by pane id (a score of None: no
                    score reaches this point, nothing is above it), in place of the panes' own; without
                    points, "message" says why
    agreement       None, or {"of": two pane ids, "looks"}: a further pane with what the two agree on
    notice          a line below

What a visitor sets (a threshold, an operating point) holds in all viewers of the page and for their next
values, and never leaves the browser by itself: see `static/viewer/choice.js`.
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from bonefx.detections import Detections
from bonefx.drawing import MODEL_STYLES
from bonefx.matching import match

if TYPE_CHECKING:
    from bonefx.images import Radiograph

_STATIC = Path(__file__).with_name("static") / "viewer"
_SCRIPTS = (  # the later use the earlier; the last starts
    "choice",
    "agreement",
    "pixels",
    "marks",
    "gestures",
    "findings",
    "controls",
    "state",
    "panes",
    "agreement_pane",
    "thresholds",
    "frames",
    "viewer",
)

LOOKS: dict[str, dict[str, str]] = {
    "faster-rcnn": {"tag": "F", "color": MODEL_STYLES["faster-rcnn"]["color"], "line": "brackets"},
    "yolo": {"tag": "Y", "color": MODEL_STYLES["yolo"]["color"], "line": "double"},
    "consensus": {"tag": "C", "color": MODEL_STYLES["consensus"]["color"], "line": "crossed"},
}
"""How a model's boxes are told apart: letter, colour and line, by model id."""

AGREEMENT_LOOKS: dict[str, dict[str, str]] = {
    "both": {"color": "#00FF80", "line": "plain"},
    "other label": {"color": "#FF4079", "line": "slashed"},
}
"""The look of what both models found; what only one found looks as that model does."""

OTHER_LOOK = {"tag": "", "color": "#CC79A7", "line": "plain"}
"""The look of what is no single model."""

PREVIEW_SIDE = 2048
"""Longest side in pixels of the preview that stands in until 16-bit data have arrived."""


def viewer(value: Mapping[str, Any] | None = None, *, elem_id: str | None = None, **options: Any) -> gr.HTML:
    """The viewer as a Gradio component.

    Args:
        value: as `viewer_value` makes it; None shows nothing.
        elem_id: name under which the page's own scripts find it.
        options: further arguments of `gr.HTML`, such as `visible`.
    """
    return gr.HTML(
        value,
        html_template=(_STATIC / "viewer.html").read_text("utf-8"),
        css_template=(_STATIC / "viewer.css").read_text("utf-8"),
        js_on_load="\n".join((_STATIC / f"{name}.js").read_text("utf-8") for name in _SCRIPTS),
        apply_default_css=False,
        elem_id=elem_id,
        **options,
    )


def viewer_value(
    image: Mapping[str, Any],
    panes: Sequence[Mapping[str, Any]],
    *,
    ground_truth: Sequence[Mapping[str, Any]] | None = None,
    ground_truth_visible: bool = False,
    operating: Mapping[str, Any] | None = None,
    agreement_of: Sequence[str] = (),
    notice: str = "",
) -> dict[str, Any]:
    """What a viewer shows.

    Args:
        image: from `viewer_image`.
        panes: from `viewer_pane`, in the order in which they stand.
        ground_truth: the lesions, `{"label", "box": {"x1", "y1", "x2", "y2"}}` in pixels of the image; None
            where nobody knows them. Detections are marked "hit" or "false alarm" against them, by
            `matching.match` at IoU 0.5 whatever the label ("hit, other label" where that differs).
        ground_truth_visible: whether they show from the start.
        operating: the operating points on offer, as above.
        agreement_of: ids of two of the panes: one more pane shows where they agree, by the rule of
            `bonefx.agreement` at the thresholds of the moment. Empty: no such pane.
        notice: said below the panes.
    """
    marked = [dict(pane) for pane in panes]
    lesions = None
    if ground_truth is not None:
        lesions = [{"label": each["label"], "box": dict(each["box"]), "found": {}} for each in ground_truth]
        for pane in marked:
            _compare(pane, lesions)
    return {
        "image": dict(image),
        "panes": marked,
        "ground_truth": lesions,
        "ground_truth_visible": ground_truth_visible,
        "operating": None if operating is None else dict(operating),
        "agreement": {"of": list(agreement_of), "looks": AGREEMENT_LOOKS} if agreement_of else None,
        "notice": notice,
    }


def viewer_pane(
    pane_id: str,
    title: str,
    detections: Detections | None,
    threshold: float | None,
    *,
    strict: float | None = None,
    subtitle: str = "",
    note: str = "",
    error: str = "",
    look: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """One pane of a viewer.

    Args:
        pane_id: the model's id, or a name of one's own. Thresholds are set by it.
        title: heading of the pane.
        detections: everything from the score floor up; the browser filters. None with an `error`.
        threshold: the score from which a detection shows. None: all show, and there is no control for it.
        strict: the stricter point's score, from which lines are solid. None: all are.
        subtitle: where the weights came from, how long it took.
        note: said beside the count, and replaced by the operating point's own note.
        error: why there is no result, in place of one.
        look: `{"tag", "color", "line"}`; None takes the model's own of `LOOKS`.
    """
    return {
        "id": pane_id,
        "title": title,
        "subtitle": subtitle,
        "note": note,
        "error": error,
        "threshold": threshold,
        "strict": strict,
        "detections": [] if detections is None else detections.to_records(),
        **(LOOKS.get(pane_id, OTHER_LOOK) if look is None else look),
    }


def viewer_image(radiograph: Radiograph, folder: Path, alt: str) -> dict[str, Any]:
    """Write what the browser fetches of an image, and describe it for `viewer_value`.

    An image of 8 bits becomes one lossless PNG. One with more becomes a small JPEG, which shows at once, and
    its grey values in full (`deep_bytes`), which replace it as soon as they have arrived.

    Args:
        radiograph: the image.
        folder: a folder that Gradio may serve; best inside of its own cache, where nothing is copied.
        alt: what it is, for those who cannot see it.
    """
    stem = uuid.uuid4().hex
    rgb = radiograph.rgb
    picture = Image.fromarray(rgb if _is_coloured(rgb) else np.ascontiguousarray(rgb[..., 0]))
    deep = None
    if radiograph.grey is None:
        path = folder / f"{stem}.png"
        picture.save(path, compress_level=1)  # higher levels cost seconds, and save little on radiographs
    else:
        path = folder / f"{stem}.jpg"
        picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        picture.save(path, quality=92)
        grey_path = folder / f"{stem}.bin"
        grey_path.write_bytes(deep_bytes(radiograph.grey))
        deep = {"file": _file(grey_path), "window": fitted_window(radiograph.grey, rgb[..., 0])}
    return {
        "file": _file(path),
        "deep": deep,
        "width": radiograph.width,
        "height": radiograph.height,
        "alt": alt,
    }


def deep_bytes(grey: np.ndarray) -> bytes:
    """16-bit grey values (h, w) as the browser reads them: lossless, and quick at both ends.

    Each row is differences from the pixel to the left, the first from 0, modulo 65536; differences are folded
    so that small ones of either sign are small numbers (0, -1, 1, -2 become 0, 1, 2, 3); then all low bytes,
    then all high bytes, as gzip. Browsers decode 8 bits of a PNG only; besides, a radiograph of 20 megapixels
    takes a third of the time and three quarters of the bytes of a 16-bit PNG.
    """
    steps = np.diff(np.asarray(grey, np.uint16), axis=1, prepend=np.uint16(0)).view(np.int16)
    folded = ((steps << 1) ^ (steps >> 15)).view(np.uint16)
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16, 9, zlib.Z_RLE)
    low, high = (folded & 0xFF).astype(np.uint8), (folded >> 8).astype(np.uint8)
    return packer.compress(low.tobytes()) + packer.compress(high.tobytes()) + packer.flush()


def fitted_window(grey: np.ndarray, shown: np.ndarray) -> list[float]:
    """The grey values that are black and white in `shown`, the same image as the models see it in 8 bits.

    A straight line through the pixels that are neither; black lies above white in an inverted image. Both
    arrays are (h, w).
    """
    step = max(1, grey.size // 250_000)
    x, y = grey.reshape(-1)[::step].astype(float), shown.reshape(-1)[::step].astype(float)
    between = (y > 0) & (y < 255)
    if between.any() and np.ptp(y[between]) >= 8:  # fewer greys than that do not tell a slope
        slope, offset = np.polyfit(x[between], y[between], 1)
        return [float(-offset / slope), float((255 - offset) / slope)]
    return [float(grey.min()), float(max(grey.max(), grey.min() + 1))]


def _compare(pane: dict[str, Any], lesions: Sequence[dict[str, Any]]) -> None:
    """Give each detection of a pane its "mark", and each lesion the score that found it in this pane."""
    detections = [dict(record) for record in pane["detections"]]
    found = match(_corners(detections), _corners(lesions))
    for lesion in lesions:
        lesion["found"][pane["id"]] = None
    for detection, index in zip(detections, found.tolist(), strict=True):
        if index < 0:
            detection["mark"] = "false alarm"
            continue
        lesion = lesions[index]
        lesion["found"][pane["id"]] = detection["score"]
        detection["mark"] = "hit" if lesion["label"] == detection["label"] else "hit, other label"
    pane["detections"] = detections


def _corners(records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    return np.array([[record["box"][corner] for corner in ("x1", "y1", "x2", "y2")] for record in records])


def _is_coloured(rgb: np.ndarray) -> bool:
    return bool((rgb[..., 0] != rgb[..., 1]).any() or (rgb[..., 0] != rgb[..., 2]).any())


def _file(path: Path) -> dict[str, Any]:
    """A file as Gradio's own record: Gradio serves it, and gives it the address that the page sees."""
    return gr.FileData(path=str(path)).model_dump()
