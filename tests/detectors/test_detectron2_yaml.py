"""Settings beside Faster R-CNN weights: each is obeyed, refused, or known to have no say."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path

import pytest
import yaml

from bonefx.detectors.faster_rcnn import detectron2_yaml
from bonefx.detectors.faster_rcnn.config import Architecture, FasterRCNNConfig, detectron2_tree
from bonefx.errors import WeightsError
from tests.golden import make_checkpoint

GOLDEN = Path(make_checkpoint.__file__).parent
ARCHITECTURE = Architecture.from_shapes(make_checkpoint._shapes())
EVERY = dict(detectron2_yaml._leaves(yaml.safe_load((GOLDEN / "detectron2_defaults.yaml").read_text())))


def read(path: Path, text: str) -> FasterRCNNConfig:
    path.write_text(text, encoding="utf-8")
    return detectron2_yaml.read(path, ARCHITECTURE)


def test_the_golden_settings_are_the_defaults():
    assert detectron2_yaml.read(GOLDEN / "detectron2.yaml", ARCHITECTURE) == FasterRCNNConfig(
        aspect_ratios=FasterRCNNConfig().aspect_ratios * 5
    )


def test_what_is_written_is_read(tmp_path):
    config = FasterRCNNConfig(min_size=480, pixel_std=(57.375, 57.12, 58.395), sampling_ratio=2)
    assert read(tmp_path / "a.yaml", yaml.safe_dump(detectron2_tree(ARCHITECTURE, config))) == config


def tables(key: str) -> list[str]:
    """The names of the tables that a setting is in."""
    return [
        name
        for name, found in (
            ("obeyed", key in detectron2_yaml.OBEYED),
            ("built", key in detectron2_yaml.BUILT),
            ("told", key in detectron2_yaml.TOLD),
            ("no say", any(fnmatch.fnmatchcase(key, p) for p in detectron2_yaml.WITHOUT_A_SAY)),
        )
        if found
    ]


@pytest.mark.parametrize("key", EVERY)
def test_every_setting_that_detectron2_has_is_in_one_table(key):
    assert len(tables(key)) == 1, key


def test_every_table_names_settings_that_detectron2_has():
    named = {*detectron2_yaml.OBEYED, *detectron2_yaml.BUILT, *detectron2_yaml.TOLD}
    assert named - EVERY.keys() == set()
    for pattern in detectron2_yaml.WITHOUT_A_SAY:
        assert fnmatch.filter(EVERY, pattern), pattern


@pytest.mark.parametrize("key", [*detectron2_yaml.BUILT, *detectron2_yaml.TOLD])
def test_another_value_of_what_is_built_is_refused_by_name(tmp_path, key):
    tree: object = "something else"
    for part in reversed(key.split(".")):
        tree = {part: tree}
    with pytest.raises(WeightsError, match=key):
        read(tmp_path / "a.yaml", yaml.safe_dump(tree))


def test_a_full_dump_of_detectron2_is_accepted_once_its_values_are_ours(tmp_path):
    """Whatever has no say may have any value."""
    tree = yaml.safe_load((GOLDEN / "detectron2_defaults.yaml").read_text())
    ours = yaml.safe_load((GOLDEN / "detectron2.yaml").read_text())
    merged = merge(tree, ours)
    merged["MODEL"]["RESNETS"]["NORM"] = "SyncBN"
    config = read(tmp_path / "a.yaml", yaml.safe_dump(merged))
    assert config == detectron2_yaml.read(GOLDEN / "detectron2.yaml", ARCHITECTURE)


def merge(tree: dict, other: dict) -> dict:
    return {
        **tree,
        **{key: merge(tree.get(key, {}), v) if isinstance(v, dict) else v for key, v in other.items()},
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # no settings at all
        ("- a list", "not a Detectron2 configuration"),
        ("a: [", "not a YAML file"),
        ("a: \x00", "not a YAML file"),
        ("a: !!python/object/apply:os.system [id]", "not a YAML file"),
        ("MODEL: 5", "'MODEL' is no setting"),
        # references and depth that would take long to follow
        ("a: &a [1]\nb: [*a, *a]", "alias"),
        ("a: " + "[" * 50_000, "nested too deep"),
        ("a: " + "x" * 200_000, "too large"),
        # values of the wrong kind
        ("INPUT: {MIN_SIZE_TEST: wide}", "INPUT.MIN_SIZE_TEST"),
        ("INPUT: {MIN_SIZE_TEST: [800]}", "INPUT.MIN_SIZE_TEST"),
        ("INPUT: {MIN_SIZE_TEST: {a: 1}}", "'INPUT.MIN_SIZE_TEST.a' is no setting"),
        ("INPUT: {FORMAT: GREY}", "INPUT.FORMAT"),
        ("INPUT: {FORMAT: 5}", "INPUT.FORMAT"),
        ("MODEL: {RESNETS: {STRIDE_IN_1X1: 3}}", "STRIDE_IN_1X1"),
        ("MODEL: {RPN: {NMS_THRESH: true}}", "NMS_THRESH"),
        ("TEST: {DETECTIONS_PER_IMAGE: null}", "DETECTIONS_PER_IMAGE"),
        # values that make no sense
        ("INPUT: {MAX_SIZE_TEST: 100000}", "between 32 and 4096"),
        ("INPUT: {MAX_SIZE_TEST: .inf}", "MAX_SIZE_TEST"),
        ("INPUT: {MIN_SIZE_TEST: .nan}", "MIN_SIZE_TEST"),
        ("INPUT: {MIN_SIZE_TEST: 0}", "MIN_SIZE_TEST"),  # Detectron2: no resizing
        ("INPUT: {MIN_SIZE_TEST: 800.5}", "MIN_SIZE_TEST"),
        ("INPUT: {MIN_SIZE_TEST: " + "9" * 400 + "}", "MIN_SIZE_TEST"),
        ("INPUT: {MIN_SIZE_TEST: 0x" + "9" * 9000 + "}", "MIN_SIZE_TEST"),
        ("MODEL: {PIXEL_MEAN: [103.5]}", "PIXEL_MEAN"),
        ("MODEL: {PIXEL_MEAN: [103.5, 1, .nan]}", "PIXEL_MEAN"),
        ("MODEL: {PIXEL_STD: [0.0, 0.0, 0.0]}", "PIXEL_STD"),
        ("MODEL: {PIXEL_STD: [1, 1, -1]}", "PIXEL_STD"),
        ("MODEL: {ANCHOR_GENERATOR: {SIZES: []}}", "SIZES"),
        ("MODEL: {ANCHOR_GENERATOR: {SIZES: [[]]}}", "SIZES"),
        ("MODEL: {ANCHOR_GENERATOR: {SIZES: [[32], [-64]]}}", "SIZES"),
        ("MODEL: {ANCHOR_GENERATOR: {ASPECT_RATIOS: [[0.0]]}}", "ASPECT_RATIOS"),
        ("MODEL: {ROI_HEADS: {NMS_THRESH_TEST: 1.5}}", "NMS_THRESH_TEST"),
        ("MODEL: {RPN: {PRE_NMS_TOPK_TEST: -1}}", "PRE_NMS_TOPK_TEST"),
        ("MODEL: {ROI_BOX_HEAD: {POOLER_SAMPLING_RATIO: 1000}}", "POOLER_SAMPLING_RATIO"),
        # what is not built here
        ("_BASE_: ../base.yaml", "_BASE_"),
        ("MODEL: {ANCHOR_GENERATOR: {OFFSET: 0.5}}", "OFFSET is 0.5, but only 0.0"),
        ("MODEL: {ROI_BOX_HEAD: {BBOX_REG_WEIGHTS: '(20.0, 20.0, 10.0, 10.0)'}}", "BBOX_REG_WEIGHTS"),
        ("MODEL: {MASK_ON: 0}", "MASK_ON"),
        ("VERSION: 1", "VERSION"),
        ("MODEL: {A_NEW_SETTING: 1}", "A_NEW_SETTING' is no setting that is known here"),
        ("TEST: {SOFT_NMS: true}", "SOFT_NMS"),
        # other weights' settings
        ("MODEL: {ROI_HEADS: {NUM_CLASSES: 80}}", "NUM_CLASSES is 80, but the weights have 6"),
        ("MODEL: {ROI_HEADS: {IN_FEATURES: [p3, p4, p5]}}", "IN_FEATURES"),
        ("MODEL: {RPN: {IN_FEATURES: [p3, p4, p5, p6]}}", "IN_FEATURES"),
    ],
)
def test_unusable_settings_are_named(tmp_path, text, words):
    with pytest.raises(WeightsError, match=words) as caught:
        read(tmp_path / "config.yaml", text)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        # left out: the published model's; another program's section: none of ours
        ("INPUT: {MIN_SIZE_TEST: 384, MAX_SIZE_TEST: 512}\nOTHER: 1", {"min_size": 384, "max_size": 512}),
        # Detectron2 makes tuples of texts
        ("MODEL: {PIXEL_MEAN: '(1.0, 2, 3)'}", {"pixel_mean": (1.0, 2.0, 3.0)}),
        ("INPUT: {MIN_SIZE_TEST: '800'}", {"min_size": 800}),
        # the same number, written otherwise
        ("MODEL: {ANCHOR_GENERATOR: {OFFSET: 0}}", {}),
        ("MODEL: {ROI_BOX_HEAD: {BBOX_REG_WEIGHTS: '(10, 10, 5, 5)'}}", {}),
    ],
)
def test_usable_settings_are_obeyed(tmp_path, text, changes):
    assert read(tmp_path / "config.yaml", text) == FasterRCNNConfig(**changes)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
def test_what_is_no_file_is_not_waited_for(tmp_path, make):
    path = tmp_path / "config.yaml"
    make(path)
    with pytest.raises(WeightsError, match="no regular file"):
        detectron2_yaml.read(path, ARCHITECTURE)
