from __future__ import annotations

import numpy as np
import pytest

from bonefx.evaluation import bootstrap, froc
from bonefx.evaluation.predictions import Predictions
from tests.evaluation import toy

RATES = froc.FP_PER_IMAGE


def case(seed, **kwargs):
    dataset, results = toy.random_case(seed, **kwargs)
    return dataset, Predictions.parse(results, len(dataset.images))


def drawn(judged: froc.Judged, weight: np.ndarray) -> froc.Judged:
    """The resample itself, image by image: every copy of an image with its lesions and detections."""
    copies = np.repeat(np.arange(len(weight)), weight)
    rows = [(new, row) for new, old in enumerate(copies) for row in np.flatnonzero(judged.images == old)]
    rows.sort(key=lambda pair: -judged.scores[pair[1]])
    row = np.array([row for _, row in rows], dtype=np.int64)
    images = np.array([new for new, _ in rows], dtype=np.int64)
    return froc.Judged(judged.scores[row], images, judged.hits[row], judged.lesions[copies])


def test_resamples_are_the_same_every_time():
    first, again = (list(bootstrap.resamples(50, 20)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert {weight.sum() for weight in first} == {50}
    assert len({weight.tobytes() for weight in first}) == 20
    assert not np.array_equal(first, list(bootstrap.resamples(50, 20, seed=1)))


@pytest.mark.parametrize("rule", froc.RULES)
@pytest.mark.parametrize("seed", range(3))
def test_froc_samples_are_the_curves_of_the_drawn_images(seed, rule):
    dataset, predictions = case(seed)
    judged = froc.RULES[rule](dataset, predictions)
    n_images = len(dataset.images)
    sensitivity, threshold = bootstrap.froc_samples(judged, RATES, bootstrap.resamples(n_images, 25))
    for i, weight in enumerate(bootstrap.resamples(n_images, 25)):
        points = froc.operating_points(drawn(judged, weight))
        assert sensitivity[i].tolist() == [point["sensitivity"] for point in points]
        assert [None if np.isinf(t) else t for t in threshold[i]] == [point["threshold"] for point in points]


def test_froc_samples_without_lesions_or_detections():
    empty = Predictions.parse([], 2)
    weights = [np.array([2, 0]), np.array([1, 1])]
    judged = froc.any_fracture(toy.dataset([[], []]), empty)
    assert np.isnan(bootstrap.froc_samples(judged, RATES, iter(weights))[0]).all()
    judged = froc.any_fracture(toy.dataset([[], [(0, [0, 0, 9, 9])]]), empty)
    sensitivity, threshold = bootstrap.froc_samples(judged, RATES, iter(weights))
    assert np.isnan(sensitivity[0]).all()  # the only lesion was not drawn
    assert (sensitivity[1] == 0).all()
    assert np.isinf(threshold).all()


@pytest.mark.parametrize("seed", range(4))
def test_auc_counts_pairs(seed):
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, 6, 30) / 5, rng.random(30) < 0.4
    weights = list(bootstrap.resamples(30, 5))
    for weight, area in zip(weights, bootstrap.auc(scores, positive, iter(weights)), strict=True):
        copies = np.repeat(np.arange(30), weight)
        high = scores[copies][positive[copies]][:, None]
        low = scores[copies][~positive[copies]]
        assert area == pytest.approx(((high > low) + (high == low) / 2).mean(), abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "positive", "expected"),
    [
        ([0.9, 0.1], [True, False], 1.0),
        ([0.1, 0.9], [True, False], 0.0),
        ([0.5, 0.5], [True, False], 0.5),  # a tie counts half
        ([0.0, 0.0, 0.3], [True, False, False], 0.25),  # images without a detection tie at 0
        ([0.5, 0.5], [False, False], np.nan),  # only fracture-free images
        ([0.5, 0.5], [True, True], np.nan),
    ],
)
def test_auc(scores, positive, expected):
    area = bootstrap.auc(np.array(scores), np.array(positive), iter([np.ones(len(scores), dtype=int)]))
    assert area.tolist() == pytest.approx([expected], nan_ok=True)


def test_called_counts_images_at_or_above_the_threshold():
    scores, positive = np.array([0.0, 0.2, 0.5, 0.5, 0.9]), np.array([True, False, True, False, True])
    weights = [np.ones(5, dtype=int), np.array([0, 5, 0, 0, 0])]
    thresholds = np.array([[0.5, 0.51, np.inf]] * 2)
    sensitivity, specificity = bootstrap.sensitivity_and_specificity(
        scores, positive, thresholds, iter(weights)
    )
    assert sensitivity[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert specificity[0].tolist() == pytest.approx([1 / 2, 1, 1])
    assert np.isnan(sensitivity[1]).all()  # no positive image was drawn
    assert specificity[1].tolist() == [1, 1, 1]


def test_interval_is_the_middle_95_percent_of_what_is_defined():
    samples = np.concatenate([np.linspace(0, 1, 1001), [np.nan] * 50])
    assert bootstrap.interval(samples) == pytest.approx([0.025, 0.975])
    assert bootstrap.interval(np.array([np.nan])) is None
