"""Batches on the server: run in the background, at one operating point, and the endpoint `/batch`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from bonefx import batch, entries, inference
from bonefx.detectors import MODELS, Registry
from bonefx.errors import BoneFXError, RequestError
from bonefx.evaluation.report import Report
from bonefx.inference import Outcome
from bonefx.settings import DEFAULT_THRESHOLD
from bonefx.ui.api import MODEL_QUEUE
from bonefx.ui.background import Tell, in_background
from bonefx.ui.metrics_store import FIRST_ANSWER_SECONDS, MetricsStore
from bonefx.ui.operating import check_rate, describe, result_above, score_for
from bonefx.ui.session import Workspace

ARCHIVE = "bonefx-batch.zip"


def run_batch(
    paths: Sequence[str],
    answer: batch.Answer,
    archive: Path,
    light: Callable[[batch.Row], Any],
    registry: Registry,
    store: MetricsStore,
) -> Iterator[Any]:
    """Run every model on all that the files hold; dropping the iterator ends it with the image in hand.

    Args:
        paths: image files and ZIP archives.
        answer: makes the results of each image.
        archive: the ZIP file to write.
        light: what is kept of a row, without its pixels.

    Yields:
        What is being done, in words; `light` of each row; None as a heartbeat.

    Raises:
        BoneFXError: the limits of a batch are exceeded, or it failed.
    """
    found = entries.collect([Path(path) for path in paths])

    def work(tell: Tell) -> None:
        store.refresh(FIRST_ANSWER_SECONDS)  # so that all images get the same operating point
        for row in batch.save_archive(batch.run(found, list(MODELS), answer, registry, tell), archive):
            tell(light(row))

    yield from in_background(work)


def answer_at(
    store: MetricsStore, fp_per_image: float | None, threshold: float, *, strictly: bool
) -> batch.Answer:
    """What makes results at an operating point, or above a score where that is None.

    Args:
        store: knows which metrics belong to the weights in use.
        fp_per_image: the operating point.
        threshold: the score; also where metrics are missing, of one model or of all: at different prices a
            comparison would mislead.
        strictly: missing metrics raise RequestError instead, when results are made.
    """

    def answer(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
        reports = {}
        if fp_per_image is not None:
            reports = {o.model: store.report_for(o) for o in outcomes if o.detections is not None}
        missing = [MODELS[model_id].name for model_id, report in reports.items() if report is None]
        if missing and strictly:
            raise RequestError(
                f"No metrics belong to the weights of {' and '.join(missing)}, so no score is known for "
                "fp_per_image. Send threshold in its place."
            )
        return [_result(outcome, None if missing else reports.get(outcome.model)) for outcome in outcomes]

    def _result(outcome: Outcome, report: Report | None) -> dict[str, Any]:
        if report is None:
            return {**outcome.to_result(threshold), "operating_point": None}
        level, point = score_for(report, fp_per_image), describe(report, fp_per_image)
        return {**result_above(outcome, level), "operating_point": point}

    return answer


def add_batch_endpoint(registry: Registry, store: MetricsStore, workspace: Workspace) -> None:
    """Add `/batch` to the app that is being built."""

    def batch(
        files: list[str] | None, threshold: float | None = None, fp_per_image: float | None = None
    ) -> Iterator[dict[str, Any] | None]:
        """Detect fractures in many radiographs. Research and education, not a medical device.

        Args:
            files: radiographs (PNG, JPEG, WebP, BMP, TIFF or DICOM) and ZIP archives of them: at most 200
                images, and 512 MB unpacked. What cannot be read gets results with `error`.
            threshold: lowest score of a detection that is returned, from 0 to 1; 0.25 if left out.
            fp_per_image: in place of a threshold, the false positives per image that are accepted, above 0
                and up to 100: each model's own score for that comes from its metrics. An error where a model
                has no metrics of its weights.

        Returns:
            schema_version; results: one result of /detect for each image and model; archive: a ZIP file of
            annotated images, results.json and results.csv, which is kept for an hour.
        """
        try:
            answer = _asked(store, threshold, fp_per_image)
            if not files:
                raise RequestError("There are no files. Send images, or a ZIP archive of them.")
            path = workspace.new_folder() / ARCHIVE
            results: list[dict[str, Any]] = []
            for news in run_batch(files, answer, path, lambda row: row.results, registry, store):
                if isinstance(news, tuple):
                    results += news
                yield None  # between two values it can be cancelled
        except BoneFXError as error:
            raise gr.Error(str(error), print_exception=False) from error
        file = {"path": str(path), "orig_name": ARCHIVE, "meta": {"_type": "gradio.FileData"}}
        yield {"schema_version": inference.SCHEMA_VERSION, "results": results, "archive": file}

    with gr.Row(visible=False):
        files = gr.File(label="files", file_count="multiple", type="filepath")
        threshold = gr.Number(None, label="threshold")
        fp_per_image = gr.Number(None, label="fp_per_image")
        answer = gr.JSON(label="result")
        button = gr.Button("batch")
    inputs = [files, threshold, fp_per_image]
    button.click(batch, inputs, answer, api_name="batch", concurrency_id=MODEL_QUEUE, concurrency_limit=1)


def _asked(store: MetricsStore, threshold: float | None, fp_per_image: float | None) -> batch.Answer:
    if threshold is not None and fp_per_image is not None:
        raise RequestError("Send either threshold or fp_per_image, not both: each sets the score.")
    if fp_per_image is not None:
        return answer_at(store, check_rate(fp_per_image), DEFAULT_THRESHOLD, strictly=True)
    level = DEFAULT_THRESHOLD if threshold is None else inference.check_threshold(threshold)
    return answer_at(store, None, level, strictly=True)
