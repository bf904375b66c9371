"""RoIAlign over a feature pyramid: each box becomes a small grid of features, from the level of its size.

Reference: He et al., Mask R-CNN, 2017; for the levels Lin et al., Feature Pyramid Networks, 2017, equation 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bonefx.detectors.torchvision_guard import roi_align

_BOXES_AT_ONCE = 250  # bounds the memory of `ChannelsLastRoIPooler`


class RoIPooler(nn.Module):
    """RoIAlign with half-pixel alignment, by torchvision.

    Its own `MultiScaleRoIAlign` has no half-pixel alignment: boxes would move.
    """

    def __init__(self, levels: Sequence[int], size: int, sampling_ratio: int) -> None:
        """
        Args:
            levels: of the pyramid; the features of level n are 1 / 2^n of the image's size.
            size: of the grid, rows and columns.
            sampling_ratio: samples along each side of a grid's cell; 0 takes about one a feature pixel.
        """
        super().__init__()
        self.levels, self.size, self.sampling_ratio = tuple(levels), size, sampling_ratio

    def forward(
        self, features: Mapping[str, Tensor], boxes: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Boxes of each image (n, 4) to pooled features (all boxes, channels, size, size)."""
        first = features[str(self.levels[0])]
        every = torch.cat(list(boxes))
        image = torch.cat([box.new_full((len(box), 1), i) for i, box in enumerate(boxes)])
        rois = torch.cat([image, every], dim=1)
        threads = 1 if first.is_cuda else torch.get_num_threads()  # on a CPU, RoIAlign itself has only one
        shares = [
            (level, rows)
            for level, on_level in self._by_level(every)
            for rows in on_level.tensor_split(threads)
        ]

        def pool(share: tuple[int, Tensor]) -> Tensor:
            level, rows = share
            feature = features[str(level)]
            return roi_align(
                feature,
                rois[rows].to(feature.dtype),
                self.size,
                spatial_scale=1 / 2**level,
                sampling_ratio=self.sampling_ratio,
                aligned=True,
            )

        pooled = first.new_zeros(len(rois), first.shape[1], self.size, self.size)
        with ThreadPoolExecutor(threads) as executor:
            for (_, rows), values in zip(shares, executor.map(pool, shares), strict=True):
                pooled[rows] = values
        return pooled

    def _by_level(self, boxes: Tensor) -> list[tuple[int, Tensor]]:
        """Each level and the rows of its boxes: one of 224 px belongs to level 4."""
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        level = torch.floor(4 + torch.log2(torch.sqrt(area) / 224 + 1e-8))
        level = level.clamp(self.levels[0], self.levels[-1]).to(torch.int64)
        return [(number, torch.nonzero(level == number)[:, 0]) for number in self.levels]


class ChannelsLastRoIPooler(RoIPooler):
    """The same for one image on a CPU whose features have their channels last, several times faster.

    RoIAlign gives each cell of a grid the mean of samples that are interpolated between pixels. So a cell is
    a weighted sum of the few pixels that it covers, and torch's `embedding_bag` is just that, for all
    channels at once: torchvision goes channel by channel and reads a pixel again for every sample.
    """

    def forward(
        self, features: Mapping[str, Tensor], boxes: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Features (1, h, w, channels) and boxes [(n, 4)] to pooled features (n, size, size, channels).

        The sums are made in the precision of the features.
        """
        (rois,) = boxes
        first = features[str(self.levels[0])]
        pooled = first.new_empty(len(rois), self.size, self.size, first.shape[-1])
        for level, on_level in self._by_level(rois):
            for rows in on_level.split(_BOXES_AT_ONCE) if len(on_level) else ():
                pooled[rows] = self._pool(features[str(level)][0], rois[rows] / 2**level - 0.5)
        return pooled

    def _pool(self, feature: Tensor, boxes: Tensor) -> Tensor:
        """Feature (h, w, channels) and boxes (n, 4) in its pixels to (n, size, size, channels)."""
        height, width, channels = feature.shape
        top, row_count, row_weights = self._covered(boxes[:, 1], boxes[:, 3], height)
        left, column_count, column_weights = self._covered(boxes[:, 0], boxes[:, 2], width)
        # Flat lists, each made from the one before: cells, the rows of pixels in them, the pixels in those.
        grid = torch.arange(len(top)).view(-1, self.size)
        y = grid[:, :, None].expand(-1, -1, self.size).flatten()
        x = grid[:, None, :].expand(-1, self.size, -1).flatten()
        pixels = row_count[y] * column_count[x]
        cell, row = _expand(row_count[y])
        y, x = y[cell], x[cell]
        start = (top[y] + row) * width + left[x]
        row_weight = row_weights[y, row]
        cell_row, column = _expand(column_count[x])
        weight = row_weight[cell_row] * column_weights[x[cell_row], column]
        pooled = F.embedding_bag(
            start[cell_row] + column,
            feature.reshape(-1, channels),
            offsets=pixels.cumsum(0) - pixels,
            mode="sum",
            per_sample_weights=weight.to(feature.dtype),
        )
        return pooled.view(len(boxes), self.size, self.size, channels)

    def _covered(self, low: Tensor, high: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
        """What the cells of a grid cover along one axis of a feature.

        Args:
            low, high: the boxes' sides (n,), in pixels of the feature.
            length: of the feature.

        Returns:
            For each cell, box by box, the first pixel (n * size,), the number of pixels (n * size,) and their
            weights (n * size, any), which are zero beyond that number.
        """
        cell = torch.arange(self.size).repeat(len(low))[:, None]
        start, side = (
            values.repeat_interleave(self.size)[:, None] for values in (low, (high - low) / self.size)
        )
        samples = side.ceil() if self.sampling_ratio == 0 else torch.full_like(side, self.sampling_ratio)
        sample = torch.arange(max(1, int(samples.max())))
        divisor = samples.clamp_min(1)  # a box without extent has no samples, and is zero
        place = start + side * (cell + (sample + 0.5) / divisor)
        counts = (sample < samples) & (place >= -1) & (place <= length)  # outside, too, a sample is zero
        place = place.clamp(0, length - 1)
        first = place[:, :1].floor()
        share = counts / divisor
        before = torch.where(counts, place.floor() - first, 0).to(torch.int64)
        after = place - first - before  # how far beyond that pixel the sample lies
        weights = place.new_zeros(len(place), int(before.max()) + 2)
        weights.scatter_add_(1, before, share * (1 - after))
        weights.scatter_add_(1, before + 1, share * after)
        number = ((weights != 0) * torch.arange(1, weights.shape[1] + 1)).amax(1)
        return first[:, 0].to(torch.int64), number, weights


def _expand(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Each owner's number as often as it counts (total,), and beside it 0, 1, ... for each owner (total,)."""
    owner = torch.repeat_interleave(counts)
    return owner, torch.arange(len(owner)) - (counts.cumsum(0) - counts)[owner]
