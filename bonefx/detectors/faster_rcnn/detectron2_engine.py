"""The same checkpoint run by the `detectron2` package itself, where that is installed.

It is no requirement: the package is not on the package index, and building it needs torch to be
installed first, which a requirements file cannot say.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bonefx.detectors.faster_rcnn.config import FasterRCNNConfig, detectron2_tree
from bonefx.detectors.faster_rcnn.network import Architecture
from bonefx.errors import WeightsError


class Detectron2Graph(nn.Module):
    """Detectron2's `GeneralizedRCNN` behind the call of `network.FasterRCNN`.

    Attributes:
        library: its name and version.
    """

    def __init__(
        self,
        architecture: Architecture,
        config: FasterRCNNConfig,
        state: Mapping[str, Tensor],
        device: torch.device,
    ) -> None:
        """
        Raises:
            WeightsError: the package is missing, or cannot build this network.
        """
        try:
            import detectron2
            from detectron2.config import get_cfg
            from detectron2.modeling import build_model
        except ImportError as error:
            raise WeightsError(
                "BONEFX_FRCNN_ENGINE asks for the package detectron2, which is not installed"
            ) from error
        if architecture.levels != (2, 3, 4, 5):
            raise WeightsError("Detectron2's own builder makes no feature pyramid that ends before res5")
        super().__init__()
        cfg = get_cfg()
        cfg.merge_from_other_cfg(type(cfg)(detectron2_tree(architecture, config)))
        cfg.MODEL.DEVICE = str(device)
        self.library = f"detectron2 {detectron2.__version__}"
        self._mean = torch.tensor(config.pixel_mean)[:, None, None]
        self._std = torch.tensor(config.pixel_std)[:, None, None]
        self._model = build_model(cfg).eval()
        self._model.load_state_dict(dict(state))

    def forward(self, image: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `network.FasterRCNN.forward`; Detectron2 normalises and pads images itself."""
        height, width = (int(side) for side in size)
        pixels = image[0, :, :height, :width].cpu() * self._std + self._mean
        found = self._model([{"image": pixels.round(), "height": height, "width": width}])[0]["instances"]
        return found.pred_boxes.tensor, found.scores, found.pred_classes
