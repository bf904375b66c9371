"""How figures are written."""

from __future__ import annotations

import pytest

from bonefx.numbers import UNKNOWN, counted, decimal, decimals, listed, percent, percents, whole


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (percent(0.406), "41 %"),
        (percent(0), "0 %"),
        (percents([0.341, 0.48]), "34 to 48 %"),
        (decimal(0.4123), "0.412"),
        (decimals((0.3411, 0.48)), "0.341 to 0.480"),
        (whole(7), "7"),
        (whole(12345), "12 345"),
        (counted(1, "file"), "1 file"),
        (counted(0, "file"), "0 files"),
        (listed(["a"]), "a"),
        (listed(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_a_figure_is_written_one_way(written, expected):
    assert written == expected


@pytest.mark.parametrize("write", [percent, decimal, whole])
def test_what_nobody_knows_is_a_dash(write):
    assert write(None) == UNKNOWN
