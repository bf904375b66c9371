"""Results as other tools take them: COCO results, YOLO text, Label Studio predictions.

All are made from the plain dicts of `Outcome.to_result`, with the detections that these hold: who wants every
detection, for an evaluation, asks for a threshold of 0. A file that no model could read is in none of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from bonefx.export import Result, weights_in_words
from bonefx.labels import CLASSES
from bonefx.settings import NOTICE

Files = Iterator[tuple[str, str]]
"""Relative path and text of each file."""

_NAME_BYTES = 200  # of a file or a folder; file systems take 255
# Where Label Studio serves files of its own machine, from folders below its root for them, not from the root.
_LOCAL_FILES = "/data/local-files/?d=images/"


def coco(results: Sequence[Result]) -> Files:
    """COCO: the image list, and one results list a model, whose `image_id` and `category_id` are from it.

    `category_id` is `class_id` + 1, as in what `bonefx evaluate` stores. A model that failed on an image is
    named in its `failed`: to have no result is another thing than no detection.
    """
    images = []
    rows: dict[str, list[dict[str, Any]]] = {result["model"]: [] for result in results}
    for image_id, (name, answers) in enumerate(_by_image(results).items(), 1):
        image = {
            "id": image_id,
            "file_name": name,
            "width": answers[0]["width"],
            "height": answers[0]["height"],
        }
        failed = [answer["model"] for answer in answers if "error" in answer]
        images.append({**image, **({"failed": failed} if failed else {})})
        for answer in answers:
            for record in answer.get("detections", ()):
                x1, y1, x2, y2 = record["box"].values()
                rows[answer["model"]].append(
                    {
                        "image_id": image_id,
                        "category_id": record["class_id"] + 1,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "score": record["score"],
                    }
                )
    about = {"description": "Detections by BoneFX", "notice": NOTICE, "models": _models(results)}
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)]
    # pycocotools wants a list of annotations, even where there is no ground truth.
    listed = {"info": about, "images": images, "annotations": [], "categories": categories}
    yield "coco/images.json", json.dumps(listed, indent=1, allow_nan=False) + "\n"
    for model, found in rows.items():
        lines = ",\n".join(json.dumps(row, allow_nan=False) for row in found)
        yield f"coco/{model}.json", f"[\n{lines}\n]\n" if found else "[]\n"


def yolo(results: Sequence[Result]) -> Files:
    """YOLO text: for each model and image rows `class x y width height confidence`, as Ultralytics saves.

    Centre and size are fractions of the image. An empty file means no detection; where a model failed there
    is no file. `data.yaml` names the classes.
    """
    names = "\n".join(f"  {number}: {name}" for number, name in enumerate(CLASSES))
    about = "\n".join(f"# {model}: {' '.join(words.split())}" for model, words in _models(results).items())
    yield "yolo/data.yaml", f"# Detections by BoneFX. {NOTICE}\n{about}\nnames:\n{names}\n"
    taken: set[str] = set()
    for name, answers in _by_image(results).items():
        stem = _portable(name)
        unique, number = stem, 1
        while unique.lower() in taken:
            number += 1
            unique = f"{stem} ({number})"
        taken.add(unique.lower())
        for answer in answers:
            if "error" not in answer:
                rows = (_yolo_row(record, answer) for record in answer["detections"])
                yield f"yolo/{answer['model']}/{unique}.txt", "".join(f"{row}\n" for row in rows)


def label_studio(results: Sequence[Result]) -> Files:
    """Label Studio: a task an image, with one prediction a model, and the labelling interface they are for.

    Boxes are percent of the image. A prediction's score is that of its best detection. The images are looked
    for where Label Studio serves local files, in a folder `images`.
    """
    labels = "\n".join(f"    <Label value={quoteattr(name)}/>" for name in CLASSES)
    yield (
        "label-studio/config.xml",
        '<View>\n  <Header value="$notice"/>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <RectangleLabels name="label" toName="image">\n{labels}\n  </RectangleLabels>\n</View>\n',
    )
    tasks = [
        {
            "data": {"image": f"{_LOCAL_FILES}{quote(name)}", "name": name, "notice": NOTICE},
            "predictions": [_prediction(answer) for answer in answers if "error" not in answer],
        }
        for name, answers in _by_image(results).items()
    ]
    yield "label-studio/tasks.json", json.dumps(tasks, indent=1, allow_nan=False) + "\n"


FORMATS: Mapping[str, Callable[[Sequence[Result]], Files]] = {
    "coco": coco,
    "yolo": yolo,
    "label-studio": label_studio,
}
"""By the name that a command line gives them."""

FORMAT_TITLES: Mapping[str, str] = {
    "coco": "COCO: the image list, and a results list a model",
    "yolo": "YOLO text: class, centre, size and confidence, a file an image",
    "label-studio": "Label Studio: tasks with a prediction a model",
}


def _by_image(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The results of each image that could be read, in their order."""
    images: dict[str, list[Result]] = {}
    for result in results:
        if result["width"]:
            images.setdefault(result["image"], []).append(result)
    return images


def _models(results: Sequence[Result]) -> dict[str, str]:
    """What made the results of each model, in words: weights and threshold."""
    return {
        result["model"]: f"{weights_in_words(result)}, threshold {result['threshold']:.4g}"
        for result in results
        if "error" not in result
    }


def _portable(name: str) -> str:
    """An image's name without its ending, as every file system takes it."""
    stem = re.sub(r"\.[A-Za-z]{1,5}$", "", name)
    parts = (re.sub(r'[<>:"|?*\\]', "_", part) for part in PurePosixPath(stem).parts)
    return "/".join(part.encode()[:_NAME_BYTES].decode("utf-8", "ignore") for part in parts)


def _yolo_row(record: Mapping[str, Any], answer: Result) -> str:
    x1, y1, x2, y2 = record["box"].values()
    width, height = answer["width"], answer["height"]
    values = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return f"{record['class_id']} {' '.join(f'{value:.6f}' for value in (*values, record['score']))}"


def _prediction(answer: Result) -> dict[str, Any]:
    return {
        "model_version": f"BoneFX {answer['model']}: {_models([answer])[answer['model']]}",
        "score": max((record["score"] for record in answer["detections"]), default=0.0),
        "result": [
            _region(record, f"{answer['model']}-{number}", answer)
            for number, record in enumerate(answer["detections"], 1)
        ],
    }


def _region(record: Mapping[str, Any], region_id: str, answer: Result) -> dict[str, Any]:
    x1, y1, x2, y2 = record["box"].values()
    width, height = answer["width"], answer["height"]
    return {
        "id": region_id,
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": record["score"],
        "value": {
            "x": 100 * x1 / width,
            "y": 100 * y1 / height,
            "width": 100 * (x2 - x1) / width,
            "height": 100 * (y2 - y1) / height,
            "rotation": 0,
            "rectanglelabels": [record["label"]],
        },
    }
