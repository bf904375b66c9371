"""The programmer's way in: documented endpoints with the stable answers of schema version 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from bonefx import agreement, images, inference
from bonefx.detectors import MODELS, Registry
from bonefx.errors import BoneFXError, RequestError
from bonefx.inference import Outcome
from bonefx.settings import DEFAULT_THRESHOLD, NOTICE
from bonefx.ui.metrics_store import MetricsStore

MODEL_QUEUE = "models"
"""All events that run a model share one queue: two cores are no faster for being asked twice."""


def add_endpoints(registry: Registry, store: MetricsStore) -> None:
    """Add `/detect`, `/compare`, `/models` and `/metrics` to the app that is being built."""

    def outcomes(image: str | None, model_ids: list[str]) -> tuple[Outcome, ...]:
        if image is None:
            raise RequestError("There is no image. Send a file: PNG, JPEG, WebP, BMP, TIFF or DICOM.")
        return inference.run(images.read(Path(image)), model_ids, registry)

    def detect(image: str | None, model: str = "yolo", threshold: float | None = None) -> dict[str, Any]:
        """Detect fractures in one radiograph with one model. Research and education, not a medical device.

        Args:
            image: the radiograph: PNG, JPEG, WebP, BMP, TIFF or DICOM, at most 64 MB and 50 megapixels.
            model: "yolo" or "faster-rcnn".
            threshold: lowest score of a detection that is returned, from 0 to 1; 0.25 if left out.

        Returns:
            The result: image, width, height, model, weights, runtime, threshold, timings_ms, notes,
            notice, and detections with label, score and box in pixels; or error in their place.
        """

        def one() -> dict[str, Any]:
            level = _level(threshold)
            return outcomes(image, [model])[0].to_result(level)

        return _answer(one)

    def compare(image: str | None, threshold: float | None = None) -> dict[str, Any]:
        """Detect fractures in one radiograph with every model. Research and education, not a medical device.

        Args:
            image: the radiograph: PNG, JPEG, WebP, BMP, TIFF or DICOM, at most 64 MB and 50 megapixels.
            threshold: lowest score of a detection that is returned, from 0 to 1; 0.25 if left out.

        Returns:
            schema_version; results: one result of /detect for each model; agreement: which detections of
            the two are on the same place, by their positions in the lists, or null after a failure.
        """

        def both() -> dict[str, Any]:
            level = _level(threshold)
            made = outcomes(image, list(MODELS))
            return {
                "schema_version": inference.SCHEMA_VERSION,
                "results": [outcome.to_result(level) for outcome in made],
                "agreement": _agreement(made, level),
            }

        return _answer(both)

    def models() -> dict[str, Any]:
        """The models, and the weights of those that are in memory."""
        return {
            "schema_version": inference.SCHEMA_VERSION,
            "notice": NOTICE,
            "models": [_describe(model_id, registry) for model_id in MODELS],
        }

    def metrics() -> dict[str, Any]:
        """The metrics reports that the page shows, one a model, with where each came from."""
        return {"schema_version": inference.SCHEMA_VERSION, "notice": NOTICE, "reports": store.to_records()}

    with gr.Row(visible=False):
        image = gr.File(label="image", type="filepath")
        model = gr.Textbox("yolo", label="model")
        threshold = gr.Number(None, label="threshold")
        answer = gr.JSON(label="result")
        detect_button, compare_button = gr.Button("detect"), gr.Button("compare")
    shared = {"outputs": answer, "concurrency_id": MODEL_QUEUE, "concurrency_limit": 1}
    detect_button.click(detect, [image, model, threshold], api_name="detect", **shared)
    compare_button.click(compare, [image, threshold], api_name="compare", **shared)
    gr.api(models, api_name="models", queue=False)
    gr.api(metrics, api_name="metrics", queue=False)


def _level(threshold: float | None) -> float:
    return DEFAULT_THRESHOLD if threshold is None else inference.check_threshold(threshold)


def _agreement(outcomes: Sequence[Outcome], level: float) -> dict[str, Any] | None:
    """Where the first two models agree, above the threshold."""
    shown = [(o.model, o.detections.above(level)) for o in outcomes if o.detections is not None]
    return agreement.to_record(*shown[0], *shown[1]) if len(shown) >= 2 else None


def _answer(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return make()
    except BoneFXError as error:
        raise gr.Error(str(error), print_exception=False) from error


def _describe(model_id: str, registry: Registry) -> dict[str, Any]:
    loaded = registry.loaded(model_id)
    facts: dict[str, Any] = {"id": model_id, "name": MODELS[model_id].name, "loaded": loaded is not None}
    if loaded is not None:
        facts["weights"] = loaded.weights.to_record()
        facts["runtime"] = vars(loaded.detector.runtime)
        facts["nms"] = loaded.detector.nms
        facts["image_size"] = loaded.detector.image_size
        facts["notes"] = list(loaded.notes)
    return facts
