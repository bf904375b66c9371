"""The same checkpoint run by the `detectron2` package itself, where that is installed.

It is no requirement: the package is not on the package index, and building it needs torch to be
installed first, which a requirements file cannot say.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from bonefx.detectors.base import Stopwatch
from bonefx.detectors.config import FasterRCNNConfig, detectron2_tree
from bonefx.detectors.network import Architecture
from bonefx.errors import WeightsError


class Detectron2Model:
    """Detectron2's `GeneralizedRCNN` behind the call of `faster_rcnn.TorchvisionModel`."""

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
        cfg = get_cfg()
        cfg.merge_from_other_cfg(type(cfg)(detectron2_tree(architecture, config)))
        cfg.MODEL.DEVICE = str(device)
        self.engine = f"detectron2 {detectron2.__version__}"
        self._rgb = config.input_format == "RGB"
        self._model = build_model(cfg).eval()
        self._model.load_state_dict(dict(state))

    @torch.inference_mode()
    def __call__(
        self, resized: np.ndarray, stopwatch: Stopwatch
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        height, width = resized.shape[:2]
        channels = resized if self._rgb else resized[:, :, ::-1]
        image = torch.from_numpy(channels.astype(np.float32).transpose(2, 0, 1))
        with stopwatch("network"):
            found = self._model([{"image": image, "height": height, "width": width}])[0]["instances"].to(
                "cpu"
            )
        return found.pred_boxes.tensor.numpy(), found.scores.numpy(), found.pred_classes.numpy()
