"""The viewer: an image with the boxes of one or several models, as views of one result.

It is one `gr.HTML` component. Its markup, style and scripts are the files of `static/viewer/`; they ask no
other host, and fetch nothing but the image: view, zoom, window, thresholds and operating points are the
browser's. The page carries two of the scripts; `loader.js` fetches the others, which are larger than all
other scripts of ours together. This module makes the component and the values that it shows. A value is
plain data:

    image           {"file", "deep", "width", "height", "alt"}, see `viewer_image`
    panes           see `viewer_pane`; boxes above `strict` are solid, those only above `threshold` dashed
    ground_truth    None, or [{"label", "box", "found": {pane id: score of its detection, or None}}]
    operating       None, or {"points": [{"label", "fp_per_image", "thresholds", "strict", "notes"}],
                    "selected", "message"}; `thresholds`, `strict` and `notes` by pane id (a score of None: no
                    score reaches this point, nothing is above it), in place of the panes' own; without
                    points, "message" says why
    agreement       None, or {"of": two pane ids, "looks"}: a further pane with what the two agree on
    about           what is said beside the picture, see `panes.value`
    parts           the file of the viewer's scripts, see `bonefx.ui.scripts`

What a visitor sets (a threshold, an operating point) holds for the next values too, and never leaves the
browser by itself: see `static/viewer/choice.js`.
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
from bonefx.labels import place
from bonefx.looks import BROUGHT, OTHER_NAME, SAME_NAME, Look
from bonefx.matching import iou_matrix, match
from bonefx.ui.scripts import STATIC, file_record, parts, script

if TYPE_CHECKING:
    from bonefx.images import Radiograph

_SCRIPTS = (  # the later use the earlier; the last starts
    "viewer/shared",
    "viewer/agreement",
    "viewer/pixels",
    "viewer/marks",
    "viewer/labels",
    "viewer/gestures",
    "viewer/controls",
    "viewer/state",
    "viewer/groups",
    "viewer/panes",
    "viewer/agreement_pane",
    "viewer/findings",
    "viewer/verdict",
    "viewer/truth",
    "viewer/thresholds",
    "viewer/frames",
    "viewer/views",
    "viewer/about",
    "viewer/keys",
    "viewer/viewer",
)

_TOGETHER = {"both": SAME_NAME.of_boxes(), "other label": OTHER_NAME.of_boxes()}

PREVIEW_SIDE = 2048
"""Longest side in pixels of the preview that stands in until 16-bit data have arrived."""

NEAR = 0.2
"""From this IoU with a lesion on, a box that does not count as a hit is a near miss."""


def viewer(value: Mapping[str, Any] | None = None, *, elem_id: str | None = None, **options: Any) -> gr.HTML:
    """The viewer as a Gradio component.

    Args:
        value: as `viewer_value` makes it; None shows nothing.
        elem_id: name under which the page's own scripts find it.
        options: further arguments of `gr.HTML`, such as `visible`.
    """
    return gr.HTML(
        value,
        html_template=(STATIC / "viewer" / "viewer.html").read_text("utf-8"),
        css_template=(STATIC / "viewer" / "viewer.css").read_text("utf-8"),
        js_on_load="\n".join(script(STATIC / "viewer" / f"{name}.js") for name in ("choice", "loader")),
        apply_default_css=False,
        elem_id=elem_id,
        **options,
    )


def viewer_value(
    image: Mapping[str, Any],
    panes: Sequence[Mapping[str, Any]],
    *,
    ground_truth: Sequence[Mapping[str, Any]] | None = None,
    operating: Mapping[str, Any] | None = None,
    agreement_of: Sequence[str] = (),
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What a viewer shows.

    Args:
        image: from `viewer_image`.
        panes: from `viewer_pane`, in the order in which they stand.
        ground_truth: the lesions, `{"label", "box": {"x1", "y1", "x2", "y2"}}` in pixels of the image; None
            where nobody knows them. Against them each detection is, by `matching.match` at IoU 0.5 whatever
            the label, "found", a "near miss" with its IoU, a "second box on the same lesion" or a "false
            alarm".
        operating: the operating points on offer, as above.
        agreement_of: ids of two of the panes: one more pane shows where they agree, by the rule of
            `bonefx.agreement` at the thresholds of the moment. Empty: no such pane.
        about: what is said beside the picture.
    """
    marked = [dict(pane) for pane in panes]
    lesions = None
    if ground_truth is not None:
        lesions = [
            {"label": place(each["label"]), "box": dict(each["box"]), "found": {}} for each in ground_truth
        ]
        for pane in marked:
            _compare(pane, lesions)
    for pane in marked:
        pane["detections"] = _packed(pane["detections"])
    return {
        "image": dict(image),
        "panes": marked,
        "ground_truth": lesions,
        "operating": None if operating is None else dict(operating),
        "agreement": {"of": list(agreement_of), "looks": _TOGETHER} if agreement_of else None,
        "about": dict(about or {}),
        "parts": parts("viewer", _SCRIPTS),
    }


def viewer_pane(
    pane_id: str,
    title: str,
    detections: Detections | None,
    threshold: float | None,
    *,
    strict: float | None = None,
    note: str = "",
    error: str = "",
    share: tuple[float, float] | None = None,
    look: Look = BROUGHT,
) -> dict[str, Any]:
    """One pane of a viewer.

    Args:
        pane_id: the model's id, or a name of one's own. Thresholds are set by it.
        title: heading of the pane.
        detections: everything from the score floor up; the browser filters. None with an `error`.
        threshold: the score from which a detection shows. None: all show, and there is no control for it.
        strict: the stricter point's score, from which marks are stronger: solid lines. None: all are.
        note: said beside the count, and replaced by the operating point's own note.
        error: why there is no result, in place of one.
        share: slope and offset of the share of marks with a score that lie on a fracture, see
            `bonefx.calibration`; None: nothing is said of that.
        look: the model's; without one, that of what is no model of ours.
    """
    return {
        "id": pane_id,
        "title": title,
        "note": note,
        "error": error,
        "threshold": threshold,
        "strict": strict,
        "share": None if share is None else list(share),
        "detections": [] if detections is None else detections.to_records(),
        **look.of_boxes(),
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
        deep = {"file": file_record(grey_path), "window": fitted_window(radiograph.grey, rgb[..., 0])}
    return {
        "file": file_record(path),
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
    """Give each detection of a pane its "truth", and each lesion the score that found it in this pane."""
    detections = [dict(record) for record in pane["detections"]]
    found = match(_corners(detections), _corners(lesions))
    overlap = iou_matrix(_corners(detections), _corners(lesions)) if lesions else None
    for lesion in lesions:
        lesion["found"][pane["id"]] = None
    for row, (detection, index) in enumerate(zip(detections, found.tolist(), strict=True)):
        closest = float(overlap[row].max()) if overlap is not None else 0.0
        if index >= 0:
            lesions[index]["found"][pane["id"]] = detection["score"]
            detection["truth"] = "found"
        elif closest >= 0.5:
            detection["truth"] = "second box on the same lesion"
        elif closest >= NEAR:
            detection["truth"] = f"near miss, IoU {closest:.2f}"
        else:
            detection["truth"] = "false alarm"
    pane["detections"] = detections


def _packed(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The same as columns, which are a quarter as long: `box` is four numbers a detection, in one list."""
    corners = ("x1", "y1", "x2", "y2")
    packed: dict[str, list[Any]] = {
        "label": [place(record["label"]) for record in records],
        "class_id": [record["class_id"] for record in records],
        "score": [float(f"{record['score']:.9g}") for record in records],
        "box": [round(record["box"][corner], 2) for record in records for corner in corners],
    }
    if any("truth" in record for record in records):
        packed["truth"] = [record["truth"] for record in records]
    return packed


def _corners(records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    return np.array([[record["box"][corner] for corner in ("x1", "y1", "x2", "y2")] for record in records])


def _is_coloured(rgb: np.ndarray) -> bool:
    return bool((rgb[..., 0] != rgb[..., 1]).any() or (rgb[..., 0] != rgb[..., 2]).any())
