"""Training of a YOLO by Ultralytics, on this project's reading of the data.

Ultralytics' trainer does the work; what is changed here is said at each place. A run is a function of recipe,
data and seed: a run that was resumed is, on the CPU, bit by bit the one that was never stopped. (Ultralytics
itself resumes from rounded weights, with the random numbers of the first epoch.)
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import bonefx.detectors.yolo.ultralytics_guard  # noqa: F401  first: it keeps Ultralytics from asking other hosts
from bonefx.detectors import yolo as adapter
from bonefx.detectors.yolo import network as yolo_network
from bonefx.detectors.yolo.opencv_import import cv2
from bonefx.errors import BoneFXError, WeightsError
from bonefx.training import CHECKPOINT, OnEpoch, OnStep, checkpoint
from bonefx.training.data import TrainingData
from bonefx.training.precision import computes_in_bfloat16
from bonefx.training.recipes import YOLORecipe
from bonefx.training.yolo_images import Images

# isort: split
from ultralytics import __version__
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER

FINAL = "model_final.pt"
BEST = "model_best.pt"


def train(
    recipe: YOLORecipe,
    data: TrainingData,
    out: Path,
    *,
    init: Path | None = None,
    device: str = "cpu",
    resume: bool = False,
    on_step: OnStep = lambda step, total, losses: None,
    on_epoch: OnEpoch = lambda epoch, detector: False,
) -> list[Path]:
    """Train, and write the averaged weights after each epoch.

    Args:
        recipe: all numbers of the run.
        data: what to train on; the model learns the data set's own classes.
        out: folder of the run; `last.pth` in it, written after each epoch, is what `resume` continues.
        init: an Ultralytics checkpoint of the recipe's architecture, with whatever classes. Without it the
            weights start random: nothing is downloaded.
        device: `cpu` or `cuda`; the network runs in bfloat16 where that is native, the losses
            in float32 on a CPU.
        resume: go on from `last.pth`, with everything else as it was; from the start where there is none yet.
        on_step: told the batch (from 1), the number of batches and the losses of an image.
        on_epoch: told the epoch (from 1) and a detector with the averaged weights; answers whether it is the
            best so far, which is then kept as `model_best.pt`.

    Returns:
        The weight files that there are: `model_final.pt`, and `model_best.pt` if there was a best.

    Raises:
        DatasetError: an image cannot be read.
        WeightsError: `init` does not fit.
        BoneFXError: the loss is no longer a number.
    """
    out.mkdir(parents=True, exist_ok=True)
    state = None
    if resume and (out / CHECKPOINT).exists():
        state = torch.load(out / CHECKPOINT, map_location="cpu", weights_only=True)
    if state is not None and state["epoch"] == recipe.epochs:
        _tell(out, recipe.epochs, on_epoch)  # the run may have been stopped before it did
    else:
        level, threads, opencv_threads = LOGGER.level, torch.get_num_threads(), cv2.getNumThreads()
        LOGGER.setLevel(logging.WARNING)
        cv2.setNumThreads(0)  # each process that loads images is one of several
        try:
            with tempfile.TemporaryDirectory() as scratch:  # for the files that Ultralytics insists on
                trainer = Trainer(recipe, data, out, device, Path(scratch), state, threads)
                trainer.on_step, trainer.on_epoch = on_step, on_epoch
                trainer.model = trainer.get_model(
                    f"{recipe.architecture}.yaml", None if init is None else _read_init(init, recipe)
                )
                trainer.train()
        finally:
            LOGGER.setLevel(level)
            torch.set_num_threads(threads)
            cv2.setNumThreads(opencv_threads)
    return [path for path in (out / FINAL, out / BEST) if path.exists()]


def write(model: DetectionModel, image_size: int, path: Path) -> None:
    """Write weights as an Ultralytics checkpoint in float16, with nothing of the machine or the run in it."""
    model = deepcopy(model).cpu().to(memory_format=torch.contiguous_format).half().eval()
    model.criterion = None
    model.yaml = {key: value for key, value in model.yaml.items() if key != "yaml_file"}
    model.args = {"task": "detect", "imgsz": image_size}
    content = {
        "model": model.requires_grad_(False),
        "train_args": dict(model.args),
        "version": __version__,
        "license": "AGPL-3.0 (https://ultralytics.com/license)",
    }
    checkpoint.save(content, path)


class Trainer(DetectionTrainer):
    """Ultralytics' trainer with this project's data, randomness, checkpoints and validation."""

    def __init__(
        self,
        recipe: YOLORecipe,
        images: TrainingData,
        out: Path,
        device: str,
        scratch: Path,
        state: Mapping[str, Any] | None,
        threads: int,
    ) -> None:
        self.recipe, self.images, self.out = recipe, images, out
        self.state, self.threads = state, threads
        self.batches = self.gathered = 0
        super().__init__(overrides=_arguments(recipe, device, scratch))

    def get_dataset(self) -> dict[str, Any]:
        """The classes; images and labels do not come from a file here."""
        names = dict(enumerate(self.images.names))
        return {"train": "", "val": "", "names": names, "nc": len(names), "channels": 3}

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Images:
        """The training images; those of Ultralytics' own validation, which never runs, are the same."""
        views = self.recipe.views
        size = self.batch_size if batch is None else batch
        return Images(self.images.samples, self.data, self.args, size, views, augment=mode == "train")

    def run_callbacks(self, event: str) -> None:
        """The trainer's own hooks, and none of the integrations with services that Ultralytics adds."""
        if event == "on_train_start" and self.device.type == "cpu" and computes_in_bfloat16("cpu"):
            self._use_bfloat16()
        elif event == "on_train_epoch_start":
            self._begin_epoch()
        elif event == "on_train_batch_end":
            self._tell_losses()

    def _use_bfloat16(self) -> None:
        """Let the network run in bfloat16, which Ultralytics offers on a GPU only: half the time a step."""
        self.model.to(memory_format=torch.channels_last)
        own_loss = self.model.loss

        def loss(batch: Mapping[str, Any]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            images = batch["img"].contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                predictions = self.model.predict(images)
            return own_loss(batch, _in_float32(predictions))

        self.model.loss = loss

    def _begin_epoch(self) -> None:
        # Ultralytics gives a CPU one thread less than it has, here and whenever a model predicts.
        torch.set_num_threads(self.threads)
        seed = self.args.seed * 1_000_003 + self.epoch
        torch.manual_seed(seed)
        self.train_loader.generator.manual_seed(seed)
        self.train_loader.dataset.epoch = self.epoch
        self.train_loader.reset()  # worker processes have the epoch from their start
        if self.state is not None:  # the trainer has just cleared the gradients that were gathered
            for parameter, gradient in zip(self.model.parameters(), self.state["gradients"], strict=True):
                parameter.grad = None if gradient is None else gradient.to(self.device)
            self.state = None

    def optimizer_step(self) -> None:
        """Step when enough images are gathered. Called for each batch, for Ultralytics gathers none here.

        The rule is Ultralytics': more and more batches a step while it warms up. Its own count could not be
        put into a checkpoint.
        """
        full = max(1, min(round(self.recipe.nominal_batch / self.batch_size), self._total_batches()))
        warmup = self._get_warmup_iterations(len(self.train_loader))
        wanted = np.interp(self.batches, [0, warmup], [1, full]).round() if warmup else full
        self.batches += 1
        self.gathered += 1
        if self.gathered >= wanted:
            super().optimizer_step()
            self.gathered = 0

    def _total_batches(self) -> int:
        return len(self.train_loader) * self.epochs

    def _tell_losses(self) -> None:
        size = self.train_loader.batch_size
        place = (self.batches - 1) % len(self.train_loader)
        images = min(size, len(self.images.samples) - size * place)  # the loss is the sum over the batch
        loss = self.loss.item() / images
        if not math.isfinite(loss):
            raise BoneFXError("The loss is no longer a number. Train with a lower learning rate.")
        losses = {name: value.item() for name, value in self.loss_items.items()}
        self.on_step(self.batches, self._total_batches(), {"loss": loss, **losses})

    def validate(self) -> tuple[dict[str, float], float]:
        """Nothing: `save_model` lets the project's own evaluation do it."""
        return {}, 0.0

    def save_model(self) -> bool:
        """At the end of an epoch: write the weights and the checkpoint, and let the weights be measured."""
        average = self.ema.ema
        write(average, self.args.imgsz, self.out / FINAL)
        content = {
            "epoch": self.epoch + 1,
            "batches": self.batches,
            "gathered": self.gathered,
            "gradients": [parameter.grad for parameter in self.model.parameters()],
            "model": self.model.state_dict(),
            "average": average.state_dict(),
            "updates": self.ema.updates,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        checkpoint.save(content, self.out / CHECKPOINT)
        _tell(self.out, self.epoch + 1, self.on_epoch)
        return True

    def resume_training(self, ckpt: None) -> None:
        """Go on from our own checkpoint, where there is one."""
        if self.state is None:
            return
        self.start_epoch = self.state["epoch"]
        self.batches, self.gathered = self.state["batches"], self.state["gathered"]
        self.model.load_state_dict(self.state["model"])
        self.ema.ema.load_state_dict(self.state["average"])
        self.ema.updates = self.state["updates"]
        self.optimizer.load_state_dict(self.state["optimizer"])
        self.scaler.load_state_dict(self.state["scaler"])
        # The balance of the two heads' losses shifts from epoch to epoch.
        self.model.criterion = self.model.init_criterion()
        self.model.criterion.updates = self.start_epoch - 1
        self.model.criterion.update()
        # The run may have been stopped before it did these for the epoch of the checkpoint.
        write(self.ema.ema, self.args.imgsz, self.out / FINAL)
        _tell(self.out, self.start_epoch, self.on_epoch)

    def final_eval(self) -> None:
        """Nothing is left to do: each epoch was measured, and its weights are written."""


def _tell(out: Path, epoch: int, on_epoch: OnEpoch) -> None:
    """Hand the weights of an epoch over, as whoever loads them will have them, and keep the best."""
    if on_epoch(epoch, adapter.load(out / FINAL)):
        shutil.copyfile(out / FINAL, out / BEST)


def _in_float32(predictions: Any) -> Any:
    """The same nested dicts and lists with their tensors in float32."""
    if isinstance(predictions, dict):
        return {name: _in_float32(value) for name, value in predictions.items()}
    if isinstance(predictions, (list, tuple)):
        return [_in_float32(value) for value in predictions]
    return predictions.float()


def _arguments(recipe: YOLORecipe, device: str, scratch: Path) -> dict[str, Any]:
    """All that shapes the training, said explicitly: Ultralytics' defaults move."""
    return {
        "task": "detect",
        "mode": "train",
        "model": f"{recipe.architecture}.yaml",
        "pretrained": False,
        "epochs": recipe.epochs,
        "patience": 0,
        "batch": recipe.batch,
        "nbs": recipe.batch,  # see `Trainer.optimizer_step`
        "imgsz": recipe.image_size,
        "device": "0" if device == "cuda" else device,
        "workers": 0 if device == "cpu" else min(8, os.cpu_count() or 1),
        "amp": "bf16" if device == "cuda" and computes_in_bfloat16(device) else False,
        "save_dir": str(scratch),
        "exist_ok": True,
        "cache": False,
        "val": False,
        "plots": False,
        "verbose": False,
        "seed": recipe.seed,
        "deterministic": True,
        "single_cls": False,
        "rect": False,
        "resume": False,
        "fraction": 1.0,
        "freeze": None,
        "multi_scale": 0.0,
        "compile": False,
        "cos_lr": recipe.cosine,
        "close_mosaic": recipe.close_mosaic,
        "optimizer": recipe.optimizer,
        "lr0": recipe.lr,
        "lrf": recipe.final_lr,
        "momentum": recipe.momentum,
        "weight_decay": recipe.weight_decay,
        "warmup_epochs": recipe.warmup_epochs,
        "warmup_bias_lr": 0.0,
        "box": recipe.box,
        "cls": recipe.cls,
        "dfl": recipe.dfl,
        "cls_pw": 0.0,
        "translate": recipe.translate,
        "scale": recipe.scale,
        "hsv_h": recipe.hsv_h,
        "hsv_s": recipe.hsv_s,
        "hsv_v": recipe.hsv_v,
        "degrees": recipe.degrees,
        "fliplr": 0.5,
        "mosaic": 1.0,
        **dict.fromkeys(("shear", "perspective", "flipud", "bgr", "mixup", "cutmix", "copy_paste"), 0.0),
    }


def _read_init(path: Path, recipe: YOLORecipe) -> nn.Module:
    """The model of a checkpoint."""
    model, _ = yolo_network.read(path)
    found = _shapes(model)
    if _shapes(DetectionModel(f"{recipe.architecture}.yaml", verbose=False)) != found:
        raise WeightsError(f"{path.name} is a checkpoint of another network than {recipe.architecture}")
    return model


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    """Shapes by name, apart from the branches whose width follows the number of classes."""
    return {name: value.shape for name, value in model.state_dict().items() if "cv3." not in name}
