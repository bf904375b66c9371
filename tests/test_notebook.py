"""What Python users get: plain dicts to the eye of a program, a picture and a table to that of a notebook."""

from __future__ import annotations

import base64
import copy
import io
import json
import pickle
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import bonefx
from bonefx import detectors, images
from bonefx.detections import Detections
from bonefx.errors import BoneFXError
from bonefx.notebook import Comparison, Result
from bonefx.settings import NOTICE, packaged
from tests.test_export import outcome

WRIST = packaged("examples") / "wrist-1.png"


@pytest.fixture(scope="module", autouse=True)
def without_the_hub():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BONEFX_HUB", "off")
        detectors.default_registry.cache_clear()
        yield
    detectors.default_registry.cache_clear()


@pytest.fixture(scope="module")
def comparison(without_the_hub) -> Comparison:
    return bonefx.compare(WRIST, threshold=0.05)


def made(**changes) -> Result:
    radiograph = images.from_array(np.zeros((700, 800), np.uint8), changes.get("image", "arm.png"))
    return Result(outcome(**changes).to_result(0.05), radiograph)


def test_both_models_are_compared_as_the_api_does(comparison):
    assert list(comparison) == ["schema_version", "results", "agreement"]
    assert [result["model"] for result in comparison["results"]] == ["faster-rcnn", "yolo"]
    found = [len(result["detections"]) for result in comparison["results"]]
    assert min(found) > 0
    paired = [*comparison["agreement"]["both"], *comparison["agreement"]["other_label"]]
    assert len(paired) + len(comparison["agreement"]["only"]["yolo"]) == found[1]


def test_a_result_is_the_dict_that_it_was(comparison):
    result = bonefx.detect(str(WRIST), threshold=0.05)
    assert isinstance(result, dict)
    assert list(result) == list(comparison["results"][1])
    labels = [[each["label"] for each in one["detections"]] for one in (result, comparison["results"][1])]
    assert labels[0] == labels[1]
    assert json.loads(json.dumps(result)) == result.to_dict() == result
    assert type(result.to_dict()) is dict
    result.to_dict()["detections"].clear()
    assert result["detections"]
    assert json.loads(json.dumps(comparison)) == comparison.to_dict()
    assert [type(each) for each in comparison.to_dict()["results"]] == [dict, dict]


@pytest.mark.slow
@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda result: pickle.loads(pickle.dumps(result))]
)
def test_a_copy_can_do_the_same(comparison, again):
    assert again(comparison) == comparison
    assert again(comparison).picture().size == comparison.picture().size
    assert again(comparison["results"][0])._repr_html_() == comparison["results"][0]._repr_html_()


def test_a_dataframe_has_a_row_for_each_detection(comparison):
    frame = comparison.to_dataframe()
    assert frame["model"].value_counts().to_dict() == {
        result["model"]: len(result["detections"]) for result in comparison["results"]
    }
    first = comparison["results"][0]["detections"][0]
    assert frame.loc[0, ["x1", "y1", "x2", "y2"]].to_dict() == first["box"]
    assert list(made(detections=Detections.empty()).to_dataframe()) == list(frame)  # no row, the same columns


def test_supervision_draws_the_detections(comparison):
    import supervision

    result = comparison["results"][1]
    detections = result.to_supervision()
    assert len(detections) == len(result["detections"])
    np.testing.assert_allclose(detections.xyxy[0], list(result["detections"][0]["box"].values()), atol=1e-3)
    assert list(detections["class_name"]) == [each["label"] for each in result["detections"]]
    scene = np.array(result.radiograph.rgb)
    drawn = supervision.LabelAnnotator().annotate(scene.copy(), detections)
    assert (drawn != scene).any()
    assert len(made(detections=Detections.empty()).to_supervision()) == 0


class Reader(HTMLParser):
    """What a notebook would show: the elements, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += f"{data} "


def test_a_notebook_shows_picture_table_and_notice(comparison):
    shown = Reader(comparison._repr_html_())
    (image,) = [attributes for tag, attributes in shown.elements if tag == "img"]
    assert image["alt"] == "wrist-1.png with the boxes of faster-rcnn, yolo"
    kind, content = image["src"].split(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        assert 300 < picture.width <= 900
    rows = sum(tag == "tr" for tag, _ in shown.elements)
    assert rows == 1 + len(comparison.to_dataframe())
    assert NOTICE in shown.text
    score = comparison["results"][0]["detections"][0]["score"]
    assert f"{score:.3f}" in shown.text


def test_nothing_found_and_a_failure_are_said():
    nothing = made(detections=Detections.empty())
    assert "no detection above the threshold of 0.05" in nothing._repr_html_()
    failed = made(model="faster-rcnn", detections=None, error="The model failed <here>.")
    both = Comparison({"results": [failed, nothing]}, nothing.radiograph)
    assert "The model failed &lt;here&gt;." in both._repr_html_()
    assert len(both.to_dataframe()) == 0


@pytest.mark.parametrize("field", ["image", "error"])
def test_what_a_notebook_runs_is_never_a_files_or_a_models_text(field):
    hostile = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    changes = {"image": hostile} if field == "image" else {"error": hostile, "detections": None}
    shown = Reader(made(**changes)._repr_html_())
    assert not [tag for tag, _ in shown.elements if tag == "script"]
    assert sum(tag == "img" for tag, _ in shown.elements) == 1
    assert not [name for _, attributes in shown.elements for name in attributes if name.startswith("on")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"image": "gone.png"}, "There is no file of this name"),
        ({"image": WRIST, "threshold": 2}, "The threshold is 2"),
        ({"image": np.zeros((9, 9))}, "must be uint8 or uint16"),
    ],
)
@pytest.mark.parametrize("function", [bonefx.detect, bonefx.compare])
def test_what_cannot_be_done_is_a_sentence(function, arguments, words):
    with pytest.raises(BoneFXError, match=re.escape(words)):
        function(**arguments)
