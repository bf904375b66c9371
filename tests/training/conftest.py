"""What the trainings share."""

from __future__ import annotations

import pytest

from bonefx.training import data
from tests.training import toy


@pytest.fixture(scope="session")
def toys(tmp_path_factory) -> data.TrainingData:
    """A handful of small labelled images; nobody changes them."""
    return data.load(toy.write(tmp_path_factory.mktemp("toys") / "set"))
