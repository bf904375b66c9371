"""Every environment variable, read once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bonefx.settings import Settings


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, {"repo_id": "karinversan/bone_fracture", "hub": True, "token": None}),
        ({"HF_REPO_ID": " a/b "}, {"repo_id": "a/b"}),  # blanks around a value do not matter
        ({"HF_REPO_ID": ""}, {"repo_id": "karinversan/bone_fracture"}),  # blank is unset
        ({"HUGGINGFACE_HUB_TOKEN": "x"}, {"token": "x"}),
        ({"HF_TOKEN": "y", "HUGGINGFACE_HUB_TOKEN": "x"}, {"token": "y"}),  # the newer name wins
        ({}, {"metrics_repo_type": "model"}),  # the default repo holds the metrics itself
        ({"HF_METRICS_REPO_ID": "a/m"}, {"metrics_repo_type": "dataset"}),  # an owner's own
        ({"HF_METRICS_REPO_ID": "a/m", "HF_METRICS_REPO_TYPE": "model"}, {"metrics_repo_type": "model"}),
        (
            {
                "HF_FILENAME_YOLO": " mine.pt ",
                "HF_FILENAME_FRCNN": " ",
                "HF_METRICS_FILENAME_FRCNN": "m.json",
            },
            {"weights_files": {"YOLO": "mine.pt"}, "metrics_files": {"FRCNN": "m.json"}},
        ),
        ({"BONEFX_HUB": "off"}, {"hub": False}),
        ({"HF_HUB_OFFLINE": "1"}, {"hub": False}),
        ({"BONEFX_WEIGHTS_DIR": "/x"}, {"weights_dir": Path("/x")}),
        ({}, {"runtime": "auto", "precision": "auto"}),
        (
            {"BONEFX_RUNTIME": "torch", "BONEFX_PRECISION": "float32"},
            {"runtime": "torch", "precision": "float32"},
        ),
        ({"XDG_CACHE_HOME": "/x"}, {"cache_dir": Path("/x/bonefx")}),
        ({"HF_ENDPOINT": "http://127.0.0.1:1/"}, {"endpoint": "http://127.0.0.1:1"}),
    ],
)
def test_the_environment_is_read(environ, expected):
    settings = Settings.from_env(environ)
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.parametrize(
    "name",
    ["BONEFX_HUB", "BONEFX_FRCNN_ENGINE", "BONEFX_RUNTIME", "BONEFX_PRECISION", "HF_METRICS_REPO_TYPE"],
)
def test_a_value_that_is_not_offered_is_named(name):
    with pytest.raises(ValueError, match=name):
        Settings.from_env({name: "perhaps"})


def test_the_token_is_not_printed():
    assert "secret" not in repr(Settings.from_env({"HF_TOKEN": "secret"}))
