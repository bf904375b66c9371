"""The endpoint `/batch`: many radiographs in, all results and an archive out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from bonefx import entries
from bonefx.detectors import Registry
from bonefx.errors import BoneFXError, RequestError
from bonefx.results import RESULT_VERSION
from bonefx.ui.batch.run import ARCHIVE, BATCH_QUEUE, run_batch
from bonefx.ui.metrics.store import MetricsStore
from bonefx.ui.operating import Cut
from bonefx.ui.session import Workspace


def add_batch_endpoint(registry: Registry, store: MetricsStore, workspace: Workspace) -> None:
    """Add `/batch` to the app that is being built."""

    def batch(
        files: list[str] | None,
        threshold: float | None = None,
        fp_per_image: float | None = None,
        dicom: bool | None = False,
    ) -> Iterator[dict[str, Any] | None]:
        """Detect fractures in many radiographs. Research and education, not a medical device.

        A parameter that is left out or null has its default.

        Args:
            files: a list of radiographs (PNG, JPEG, WebP, BMP, TIFF or DICOM) and ZIP archives of them: at
                most 200 images, and 512 MB unpacked. What cannot be read gets results with `error`.
            threshold: lowest score of a detection that is returned, from 0 to 1. Left out it is 0.25,
                whatever the weights; the page begins at 1 false positive per image, which is fp_per_image=1.
            fp_per_image: in place of a threshold, the false positives per image that are accepted, above 0
                and up to 100: each model's own score for that comes from its metrics. An error where a model
                has no metrics of its weights.
            dicom: whether the archive also has, for each DICOM image, a structured report and a picture with
                boxes, both in the study of the image.

        Returns:
            schema_version; results: one result of /detect for each image and model; archive: a ZIP file of
            annotated images, results.json and results.csv, which is kept for an hour.
        """
        try:
            cut = Cut.requested(threshold, fp_per_image)
            if not files:
                raise RequestError("There are no files. Send images, or a ZIP archive of them.")
            path = workspace.new_folder() / ARCHIVE
            results: list[dict[str, Any]] = []
            found = entries.collect([Path(file) for file in files])
            for _ in run_batch(
                found, cut, path, lambda row: results.extend(row.results), registry, store, dicom=bool(dicom)
            ):
                yield None  # between two values it can be cancelled
        except BoneFXError as error:
            raise gr.Error(str(error), print_exception=False) from error
        file = {"path": str(path), "orig_name": ARCHIVE, "meta": {"_type": "gradio.FileData"}}
        yield {"schema_version": RESULT_VERSION, "results": results, "archive": file}

    with gr.Row(visible=False):
        files = gr.File(label="files", file_count="multiple", type="filepath")
        threshold = gr.Number(None, label="threshold")
        fp_per_image = gr.Number(None, label="fp_per_image")
        dicom = gr.Checkbox(False, label="dicom")
        answer = gr.JSON(label="result")
        button = gr.Button("batch")
    inputs = [files, threshold, fp_per_image, dicom]
    button.click(batch, inputs, answer, api_name="batch", **BATCH_QUEUE)
