"""The programmer's way in: documented endpoints with the stable answers of schema version 1."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from bonefx import images, inference
from bonefx.detectors import MODELS, Registry
from bonefx.errors import UNEXPECTED, BoneFXError, RequestError, log_frames, shortened
from bonefx.results import RESULT_VERSION
from bonefx.settings import NOTICE, SPACE_HOST
from bonefx.ui.api_page import document
from bonefx.ui.background import error_in_words
from bonefx.ui.inputs import checked
from bonefx.ui.metrics.store import ELSEWHERE, FIRST_ANSWER_SECONDS, MetricsStore
from bonefx.ui.operating import Cut
from bonefx.ui.visitors import FORGOTTEN, Visitors

MODEL_QUEUE = "models"
"""All events that run a model share one queue: two cores are no faster for being asked twice."""


DEFAULT_MODEL = "yolo"

_NO_SUCH_VALUE = "What was sent is not what this takes. “Use via API”, at the page's foot, says what is."


_log = logging.getLogger(__name__)


class App(gr.Blocks):
    """An app whose endpoints can be called with fewer values than they have, like functions with defaults.

    Gradio (6.31) refuses that to those who send values by position, over plain HTTP: each new argument of an
    endpoint would break all of its callers. Its page "Use via API" has our words; see `api_page`.

    What is sent is checked first (see `inputs`), and no answer and no log repeats it.
    """

    def get_api_info(self, *args: Any, **kwargs: Any) -> Any:
        """What "Use via API" shows, and clients read."""
        info = super().get_api_info(*args, **kwargs)
        # What describes the tools of assistants asks before there is an address.
        address = f"https://{SPACE_HOST}/" if SPACE_HOST else self.local_url or "/"
        for each in self.fns.values():
            endpoint = info["named_endpoints"].get(f"/{each.api_name}")
            if endpoint is not None:
                document(endpoint, each.fn, address)
        return info

    def validate_inputs(self, block_fn: Any, inputs: list[Any]) -> None:
        """Fill up with the first values of the components that nobody sent a value for."""
        inputs.extend(component.value for component in block_fn.inputs[len(inputs) :])
        super().validate_inputs(block_fn, inputs)

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> Any:
        """Values as they were sent to values for the event's function."""
        try:
            self.validate_inputs(block_fn, inputs)
            inputs = [checked(*pair) for pair in zip(block_fn.inputs, inputs, strict=False)]
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        except BoneFXError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except gr.Error as error:  # Gradio's own repeat what was sent
            raise gr.Error(shortened(error.message), print_exception=False) from None
        except Exception:
            raise gr.Error(_NO_SUCH_VALUE, print_exception=False) from None

    async def process_api(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Answer an event, with a sentence whatever has happened."""
        visitors, event_id = self.state_holder, kwargs.get("event_id")
        if event_id and isinstance(visitors, Visitors) and visitors.forgotten(kwargs.get("session_hash")):
            self._queue.log_message(event_id, FORGOTTEN, "Warning", "warning", duration=None)
        try:
            return await super().process_api(*args, **kwargs)
        except gr.Error as error:
            error.message, error.print_exception = error_in_words(error), False
            raise
        except Exception as error:
            log_frames(_log, error)
            raise gr.Error(UNEXPECTED, print_exception=False) from None


class Answers:
    """What the endpoints answer; their docstrings are what the API's page says."""

    def __init__(self, registry: Registry, store: MetricsStore) -> None:
        self._registry, self._store = registry, store

    def detect(
        self,
        image: str | None,
        model: str | None = DEFAULT_MODEL,
        threshold: float | None = None,
        fp_per_image: float | None = None,
    ) -> dict[str, Any]:
        """Detect fractures in one radiograph with one model. Research and education, not a medical device.

        A parameter that is left out or null has its default. The image can also be an address on this server:
        .../gradio_api/file=PATH of what was uploaded to .../gradio_api/upload, or .../examples/NAME; no other
        address is fetched.

        Args:
            image: the radiograph: PNG, JPEG, WebP, BMP, TIFF or DICOM, at most 64 MB and 50 megapixels.
            model: "yolo", "faster-rcnn", or "consensus" of both, in upper or lower case; "yolo" if left out.
            threshold: lowest score of a detection that is returned, from 0 to 1. Left out it is 0.25,
                whatever the weights; the page begins at 1 false positive per image, which is fp_per_image=1.
            fp_per_image: in place of a threshold, the false positives per image that are accepted, above 0
                and up to 100; the model's metrics tell the score. An error where none belong to its weights.

        Returns:
            the result: image, width, height, model, weights, runtime, threshold, timings_ms, notes,
            notice, operating_point, and detections with label, score and box in pixels; or error in their
            place. operating_point has fp_per_image, sensitivity and interval, or is null after a threshold.
            After fp_per_image a detection also has its share, where that is measured: of marks with such a
            score, how many lie on a fracture. A consensus has members, and no weights of its own.
        """
        return _answer(lambda: self._results(image, [model or DEFAULT_MODEL], threshold, fp_per_image)[0][0])

    def compare(
        self,
        image: str | None,
        threshold: float | None = None,
        fp_per_image: float | None = None,
        pair: str | None = None,
    ) -> dict[str, Any]:
        """Detect fractures in one radiograph with every model. Research and education, not a medical device.

        A parameter that is left out or null has its default. The image can also be an address on this server:
        .../gradio_api/file=PATH of what was uploaded to .../gradio_api/upload, or .../examples/NAME; no other
        address is fetched.

        Args:
            image: the radiograph: PNG, JPEG, WebP, BMP, TIFF or DICOM, at most 64 MB and 50 megapixels.
            threshold: lowest score of a detection that is returned, from 0 to 1. Left out it is 0.25,
                whatever the weights: so an answer does not change with the metrics that are published
                meanwhile. The page begins at 1 false positive per image; send fp_per_image=1 for the same.
            fp_per_image: in place of a threshold, the false positives per image that are accepted, above 0
                and up to 100: each model's own score for that comes from its metrics, so that the models
                are compared at one price. An error where a model has no metrics of its weights.
            pair: the two models whose agreement is told, with a comma between; left out, the first two.

        Returns:
            schema_version; results: one result of /detect for each model; agreement: which detections of
            the pair are on the same place (IoU of at least 0.5, of several the one of highest score), by
            their positions in the lists, or null after a failure.
        """

        def every() -> dict[str, Any]:
            two = inference.pair_of(pair.split(",") if pair else None)
            results, agreement = self._results(image, list(MODELS), threshold, fp_per_image, two)
            return {"schema_version": RESULT_VERSION, "results": results, "agreement": agreement}

        return _answer(every)

    def models(self) -> dict[str, Any]:
        """The models, and the weights of those that are in memory."""
        return {
            "schema_version": RESULT_VERSION,
            "notice": NOTICE,
            "models": [_describe(model_id, self._registry) for model_id in MODELS],
        }

    def metrics(self) -> dict[str, Any]:
        """The metrics reports that the page shows, one a model, with where each came from.

        Returns:
            schema_version; notice; reports: on pictures of the first data set; elsewhere: on hospital
            pictures, empty where nobody measured that.
        """
        head = {"schema_version": RESULT_VERSION, "notice": NOTICE}
        return {**head, "reports": self._store.to_records(), "elsewhere": self._store.to_records(ELSEWHERE)}

    def _results(
        self,
        image: str | None,
        model_ids: Sequence[str],
        threshold: float | None,
        fp_per_image: float | None,
        pair: Sequence[str] | None = None,
    ) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """The result of each model, and where the two of the pair agree."""
        cut = Cut.requested(threshold, fp_per_image)
        if image is None:
            raise RequestError("There is no image. Send a file: PNG, JPEG, WebP, BMP, TIFF or DICOM.")
        outcomes = inference.run(images.read(Path(image)), model_ids, self._registry)
        results, scores = cut.results(
            outcomes, lambda outcome: self._store.report_for(outcome, FIRST_ANSWER_SECONDS)
        )
        return results, None if pair is None else inference.agreement_of(outcomes, scores, pair)


def add_endpoints(registry: Registry, store: MetricsStore) -> None:
    """Add `/detect`, `/compare`, `/models` and `/metrics` to the app that is being built."""
    answers = Answers(registry, store)
    with gr.Row(visible=False):
        image = gr.File(label="image", type="filepath")
        model = gr.Textbox(DEFAULT_MODEL, label="model")
        threshold = gr.Number(None, label="threshold")
        fp_per_image = gr.Number(None, label="fp_per_image")
        pair = gr.Textbox(None, label="pair")
        result = gr.JSON(label="result")
        detect_button, compare_button = gr.Button("detect"), gr.Button("compare")
    shared = {"outputs": result, "concurrency_id": MODEL_QUEUE, "concurrency_limit": 1}
    # Callers over HTTP send values by position: what is new comes last, and see `App`.
    detect_button.click(answers.detect, [image, model, threshold, fp_per_image], api_name="detect", **shared)
    compare_button.click(
        answers.compare, [image, threshold, fp_per_image, pair], api_name="compare", **shared
    )
    gr.api(answers.models, api_name="models", queue=False)
    gr.api(answers.metrics, api_name="metrics", queue=False)


def _answer(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return make()
    except BoneFXError as error:
        raise gr.Error(str(error), print_exception=False) from error


def _describe(model_id: str, registry: Registry) -> dict[str, Any]:
    loaded = registry.loaded(model_id)
    facts: dict[str, Any] = {"id": model_id, "name": MODELS[model_id].name, "loaded": loaded is not None}
    if loaded is not None:
        facts["weights"] = loaded.weights.described().to_record()
        facts["runtime"] = vars(loaded.detector.runtime)
        facts["nms"] = loaded.detector.nms
        facts["image_size"] = loaded.detector.image_size
        facts["notes"] = list(loaded.notes)
    return facts
