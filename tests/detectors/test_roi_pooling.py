"""RoIAlign: the same from torchvision with any number of threads, and from weighted sums of pixels."""

from __future__ import annotations

import pytest
import torch

from bonefx.detectors.roi_pooling import ChannelsLastRoIPooler, RoIPooler

LEVELS = (3, 4)
BOXES = torch.tensor(
    [
        [10.0, 20.0, 60.0, 70.0],  # inside
        [3.3, 7.7, 9.1, 250.2],  # narrow
        [0.0, 0.0, 256.0, 200.0],  # the whole image, on the coarser level
        [-90.0, -40.0, 30.0, 300.0],  # partly outside
        [900.0, 900.0, 990.0, 950.0],  # wholly outside
        [255.0, 190.0, 256.0, 200.0],  # in the last pixel
        [64.0, 64.0, 64.0, 64.0],  # without extent
    ]
)


def features(images: int = 1) -> dict[str, torch.Tensor]:
    """Of a picture 200 high and 256 wide, with 5 channels."""
    torch.manual_seed(0)
    return {"3": torch.rand(images, 5, 25, 32), "4": torch.rand(images, 5, 13, 16)}


def test_threads_pool_what_one_pools():
    pooler = RoIPooler(LEVELS, size=7, sampling_ratio=0)
    boxes = [BOXES, BOXES.flip(0) * 0.7]
    threads = torch.get_num_threads()
    pooled = []
    try:
        for torch_threads in (1, 5):
            torch.set_num_threads(torch_threads)
            pooled.append(pooler(features(2), boxes, [(200, 256)] * 2))
    finally:
        torch.set_num_threads(threads)
    assert pooled[0].shape == (14, 5, 7, 7)
    assert torch.equal(*pooled)
    assert pooled[0].flatten(1).any(dim=1).count_nonzero() == 10  # two boxes of each image have nothing


@pytest.mark.parametrize("sampling_ratio", [0, 1, 3])
@pytest.mark.parametrize("size", [7, 2])
@pytest.mark.parametrize("number", [0, 1, 7, 700])
def test_weighted_sums_are_torchvisions_means(sampling_ratio, size, number):
    boxes = BOXES.repeat(100, 1)[:number] * torch.linspace(1, 0.2, number)[:, None]
    given = features()
    expected = RoIPooler(LEVELS, size, sampling_ratio)(given, [boxes], [(200, 256)])
    channels_last = {level: feature.permute(0, 2, 3, 1).contiguous() for level, feature in given.items()}
    found = ChannelsLastRoIPooler(LEVELS, size, sampling_ratio)(channels_last, [boxes], [(200, 256)])
    torch.testing.assert_close(found.permute(0, 3, 1, 2), expected, atol=1e-4, rtol=0)


def test_sums_keep_the_precision_of_the_features():
    given = {level: feature.permute(0, 2, 3, 1) for level, feature in features().items()}
    pooler = ChannelsLastRoIPooler(LEVELS, 7, 0)
    expected = pooler(given, [BOXES], [(200, 256)])
    found = pooler({level: feature.bfloat16() for level, feature in given.items()}, [BOXES], [(200, 256)])
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0)
