"""Metrics and predictions to a data set repository on the Hub, with a card that says what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bonefx.errors import SourceError
from bonefx.evaluation.report import Report
from bonefx.evaluation.summary import headlines, markdown_table
from bonefx.settings import NOTICE, Settings
from bonefx.sources import hub

_CARD = """\
---
license: agpl-3.0
pretty_name: {title}
task_categories:
- object-detection
tags:
- medical
- x-ray
- bone-fracture
viewer: false
---

# BoneFX: how good the fracture detectors are

{notice}

{headline}

{table}
Intervals are 95 %, by bootstrap over images. Measured on the split `{split}` of {dataset}: {images} images,
{fracture_free} of them without a fracture, {boxes} boxes. Entries that could not be used: {problems}.

## Files

- {metrics}: the metrics, as the BoneFX app fetches them, with weight hashes, versions and operating points.
- `predictions/*.json`, one for each model: what it predicted, as a COCO results list. A consensus has none:
  `python -m bonefx evaluate --rescore` fuses it from those of both models.
- `predictions/*.run.json`: which weights, libraries and settings made the predictions.
- `predictions/ground_truth.json`: the boxes that were to be found (COCO), and the SHA-256 of each image. The
  images are not here.

## Protocol

Version {protocol[version]}. Every image of the split counts, those without a fracture too; detections have a
score of at least {protocol[score_floor]}, and at most {protocol[max_detections]} an image count. FROC: a hit
has an IoU of at least {protocol[hit_iou]}, a second hit on the same lesion is a false positive, and the
operating point at a rate is the best sensitivity at no more false positives per image than that, without
interpolation. "Any fracture" ignores the class, after class-agnostic NMS at {protocol[any_fracture_nms_iou]}.
AP and AR are COCO's. {protocol[bootstrap_resamples]} bootstrap resamples, the same for every model.

To repeat it, or to score predictions of your own (a COCO results list with the image ids of
`ground_truth.json`, and the class id + 1 as category):

    python -m bonefx evaluate --data FOLDER --split {split}
    python -m bonefx evaluate --predictions FILE --ground-truth predictions/ground_truth.json

## Limits

One public split; no patient ids, so that images of one patient may be on both sides; noisy labels. The
figures say nothing about clinical use.

## Licence

Metrics and predictions: AGPL-3.0-or-later, as BoneFX. The boxes of `ground_truth.json` come from the data set
and stay under its licence.
"""


def check(settings: Settings) -> None:
    """Refuse a repository that publishing would spoil: the default one holds weights and their card.

    Raises:
        SourceError: the metrics repository is no data set.
    """
    if settings.metrics_repo_type != "dataset":
        raise SourceError(
            f"Metrics are published to a data set repository, and {settings.metrics_repo_id} is set as a "
            "model: set HF_METRICS_REPO_ID to OWNER/NAME of your own, and leave HF_METRICS_REPO_TYPE unset."
        )


def card(reports: Mapping[str, Report]) -> str:
    """The README.md of the repository. The same reports give the same text.

    Args:
        reports: on one data set, by file name.
    """
    made = list(reports.values())
    first = made[0]
    dataset = first["dataset"]
    return _CARD.format(
        title=json.dumps(f"BoneFX metrics on {dataset['name']}, {dataset['split']}"),  # quoted as YAML wants
        notice=NOTICE,
        dataset=dataset["name"],
        headline=" ".join(headlines(made)),
        table=markdown_table(made),
        metrics=", ".join(f"`{name}`" for name in reports),
        protocol=first["protocol"],
        **{key: dataset[key] for key in ("split", "images", "fracture_free", "boxes", "problems")},
    )


def push(
    settings: Settings,
    folder: Path,
    reports: Mapping[str, Report],
    predictions: Sequence[Path],
    place: str = "",
) -> hub.Pushed:
    """Publish in one commit.

    Args:
        settings: with the repository and the token.
        folder: where the metrics files are.
        reports: by file name in the folder and in the repository.
        predictions: files that go to `predictions/`.
        place: folder in the repository, ending in `/`; the root if empty.

    Raises:
        SourceError: see `bonefx.sources.hub.push`.
    """
    check(settings)
    files: dict[str, bytes | Path] = {"README.md": card(reports).encode()}
    files |= {name: folder / name for name in reports}
    files |= {f"predictions/{path.name}": path for path in predictions}
    files = {f"{place}{name}": content for name, content in files.items()}
    names = ", ".join(report["detector"]["name"] for report in reports.values())
    dataset = next(iter(reports.values()))["dataset"]
    return hub.push(settings, files, f"Metrics of {names} on {dataset['name']}, {dataset['split']}")
