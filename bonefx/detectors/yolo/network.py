"""The network of an Ultralytics checkpoint, made anew from what the file describes.

Such a file is a pickled program: it names classes to make and functions to call. None of that is run. The
layers that it describes are made here, of the classes of a fixed list, with plain values as their settings;
the file's tensors are then put into them.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bonefx.detectors.weight_file import WeightFile, load_state, plain_names
from bonefx.detectors.weight_file.pickled import Record, TensorClaim
from bonefx.detectors.yolo.ultralytics_guard import Detect, DetectionModel
from bonefx.errors import WeightsError, quoted

MAX_MODULES = 20_000
MAX_DEPTH = 30
MAX_CALLS = 100_000  # of layers, for one image
MAX_OUTPUTS = 1_000_000_000  # numbers that all layers put out together, of the trial image
TRIAL_SIZE = 256  # pixels

# What Ultralytics' detection models, versions 3 to 26, are made of. Its other layers load weights from
# elsewhere (TorchVision), read text, or belong to other tasks.
_CLASSES = {
    "torch.nn.modules.activation": ("SiLU", "ReLU", "LeakyReLU"),
    "torch.nn.modules.batchnorm": ("BatchNorm2d",),
    "torch.nn.modules.container": ("ModuleList", "Sequential"),
    "torch.nn.modules.conv": ("Conv2d", "ConvTranspose2d"),
    "torch.nn.modules.linear": ("Identity",),
    "torch.nn.modules.padding": ("ZeroPad2d",),
    "torch.nn.modules.pooling": ("AvgPool2d", "MaxPool2d"),
    "torch.nn.modules.upsampling": ("Upsample",),
    "ultralytics.nn.modules.conv": ("Concat", "Conv", "DWConv", "GhostConv", "RepConv"),
    "ultralytics.nn.modules.block": (
        *("A2C2f", "AAttn", "ABlock", "AConv", "ADown", "Attention", "Bottleneck", "C2", "C2PSA", "C2f"),
        *("C2fCIB", "C3", "C3Ghost", "C3k", "C3k2", "CBFuse", "CBLinear", "CIB", "DFL", "ELAN1"),
        *("GhostBottleneck", "PSA", "PSABlock", "RepBottleneck", "RepCSP", "RepNCSPELAN4", "RepVGGDW"),
        *("SCDown", "SPP", "SPPELAN", "SPPF"),
    ),
    "ultralytics.nn.modules.head": ("Detect", "v10Detect"),
}
_KINDS = {f"{module}.{name}": (module, name) for module, names in _CLASSES.items() for name in names}
_COUNTER = ".num_batches_tracked"  # of batch normalisation: says nothing about inference
# Of the head: computed anew for each image, or chosen by who runs it.
_NOT_TAKEN = ("anchors", "strides", "shape", "dynamic", "export", "format", "xyxy", "max_det", "agnostic_nms")


def read(path: Path) -> tuple[nn.Module, int]:
    """The network of a checkpoint, with its `names` and `stride`, and the image size that it was trained for.

    Raises:
        WeightsError: it is no Ultralytics detection checkpoint, or one that is not sound.
    """
    file = WeightFile.read(path)
    content = file.content if isinstance(file.content, Mapping) else {}
    model = content.get("ema") or content.get("model")
    if not isinstance(model, Record) or not isinstance(model.state, Mapping):
        raise WeightsError(f"{path.name} is damaged or is not an Ultralytics detection checkpoint")
    if model.kind.rpartition(".")[2] not in ("DetectionModel", "YOLOv10DetectionModel"):
        raise WeightsError(f"{path.name} holds a {quoted(model.kind)}, not an Ultralytics detection model")
    size = _image_size(content.get("train_args"))
    claims = dict(_claims(model))
    try:
        with torch.device("meta"):  # no memory and no arithmetic, whatever the sizes
            network = _Network(model)
            stride = network.trial()
    except WeightsError:
        raise
    except Exception as error:  # layers that do not fit each other fail in many ways
        raise WeightsError(f"{path.name}: its layers make no detection network") from error
    names = _names(model.state.get("names"), network.model[-1].nc)
    counters = {name: torch.zeros((), dtype=torch.long) for name in claims if name.endswith(_COUNTER)}
    load_state(network, {**file.tensors(plain_names(claims)), **counters})
    network.names = names
    network.stride = network.model[-1].stride = torch.tensor(stride)
    return network.eval().requires_grad_(False), size


class _Network(DetectionModel):
    """Ultralytics' detection model with layers that a file describes."""

    def __init__(self, described: Record) -> None:
        nn.Module.__init__(self)
        self.inplace, self.task, self.yaml = True, "detect", {"channels": 3}
        self.args: dict[str, Any] = {}
        self.save = [index for index in described.state.get("save", ()) if type(index) is int]
        self.model = _made(described.state["_modules"]["model"], {})

    def trial(self) -> list[float]:
        """The strides of the head's levels, from a pass that computes shapes alone.

        Raises:
            WeightsError: the layers put out more than any image needs, or the last is no head.
        """
        head = self.model[-1]
        if not isinstance(head, Detect):
            raise WeightsError("the last layer of the checkpoint is no detection head")
        calls = outputs = 0

        def count(module: nn.Module, inputs: Any, output: Any) -> None:
            nonlocal calls, outputs
            calls += 1
            outputs += output.numel() if isinstance(output, Tensor) else 0
            if calls > MAX_CALLS or outputs > MAX_OUTPUTS:
                raise WeightsError("the layers of the checkpoint put out more than any image needs")

        hooks = [module.register_forward_hook(count) for module in self.modules()]
        self.eval()
        head.training = True  # it then returns what came in, not boxes
        found = self._predict_once(torch.zeros(1, 3, TRIAL_SIZE, TRIAL_SIZE))
        head.training = False
        for hook in hooks:
            hook.remove()
        return [TRIAL_SIZE / level.shape[-2] for level in found.get("one2many", found)["feats"]]


class OneToMany(nn.Module):
    """The graph: letterboxed images to the decoded boxes and scores of the one-to-many head, before NMS."""

    def __init__(self, network: nn.Module) -> None:
        """
        Raises:
            WeightsError: the network has no such head left.
        """
        super().__init__()
        self.network = network
        network.end2end = False
        if network.end2end:
            raise WeightsError("the checkpoint has an NMS-free head alone")
        network.model[-1].dynamic = True  # its places follow each image's size, in a traced graph too

    def forward(self, images: Tensor) -> Tensor:
        """Images (1, 3, h, w) on the scale 0 to 1 to (1, 4 + classes, n): centre, size and scores."""
        return self.network(images)[0]

    def together(self, several: Sequence[tuple[Tensor]]) -> list[tuple[Tensor]]:
        """As `forward` for each of several images of one shape."""
        found = self.forward(torch.cat([image for (image,) in several]))
        return [(each,) for each in found.split(1)]


def _made(described: Any, made: dict[int, nn.Module]) -> nn.Module:
    """A layer with all that is in it; `made` has those that were made before, by the id of their record.

    Raises:
        WeightsError: it is of a class that is not known here.
    """
    if not isinstance(described, Record) or described.kind not in _KINDS:
        kind = described.kind if isinstance(described, Record) else type(described).__name__
        raise WeightsError(f"the checkpoint has a layer that is not known here: {quoted(kind)}")
    if id(described) in made:
        return made[id(described)]
    module, name = _KINDS[described.kind]
    kind = getattr(importlib.import_module(module), name)
    layer = made[id(described)] = kind.__new__(kind)
    nn.Module.__init__(layer)
    for name, value in described.state.items():
        # Nothing that its class defines is replaced; a setting that it needs is missed in the trial.
        member = getattr(kind, str(name), None)
        own = name in layer.__dict__ or callable(member) or isinstance(member, property)
        if isinstance(name, str) and not own and name not in _NOT_TAKEN and _plain(value):
            setattr(layer, name, value)
    for name, child in _table(described, "_modules"):
        layer.add_module(name, None if child is None else _made(child, made))
    for part in ("_parameters", "_buffers"):
        for name, claim in _table(described, part):
            getattr(layer, part)[name] = None if claim is None else _empty(claim, part == "_parameters")
    if isinstance(layer, nn.Upsample):
        layer.recompute_scale_factor = None  # files of torch before 1.11 do without
    return layer


def _empty(claim: Any, parameter: bool) -> Tensor:
    shape = claim.shape if isinstance(claim, TensorClaim) else ()  # what it is else, `tensors` says
    return nn.Parameter(torch.empty(shape), requires_grad=False) if parameter else torch.empty(shape)


def _plain(value: Any, depth: int = 0) -> bool:
    if isinstance(value, (list, tuple)):
        return depth < 2 and len(value) <= 100 and all(_plain(item, depth + 1) for item in value)
    if type(value) is float:
        return math.isfinite(value)  # an epsilon that is not makes everything after it so
    return value is None or type(value) in (bool, int, str)


def _table(described: Record, part: str) -> list[tuple[str, Any]]:
    values = described.state.get(part) if isinstance(described.state, Mapping) else None
    items = values.items() if isinstance(values, Mapping) else ()
    return [(name, value) for name, value in items if isinstance(name, str)]


def _claims(model: Record) -> Iterator[tuple[str, Any]]:
    """Every parameter and buffer of a pickled module, by the name that a state dict gives it.

    Raises:
        WeightsError: it has more modules than any network, as one that contains itself has.
    """
    waiting = [("", model, 0)]
    seen = 0
    while waiting:
        prefix, module, depth = waiting.pop()
        seen += 1
        if seen > MAX_MODULES or depth > MAX_DEPTH:
            raise WeightsError("the checkpoint has more layers than any network")
        for part in ("_parameters", "_buffers"):
            for name, value in _table(module, part):
                if value is not None:
                    yield f"{prefix}{name}", value
        for name, child in _table(module, "_modules"):
            if isinstance(child, Record):
                waiting.append((f"{prefix}{name}.", child, depth + 1))


def _names(names: Any, classes: int) -> dict[int, str]:
    """
    Raises:
        WeightsError: the file does not name each class.
    """
    table = dict(enumerate(names)) if isinstance(names, list) else names
    if isinstance(table, dict) and set(table) == set(range(classes)):
        found = {number: table[number] for number in range(classes)}
        if all(isinstance(name, str) and len(name) <= 100 for name in found.values()):
            return found
    raise WeightsError(f"the checkpoint does not name each of its {classes} classes")


def _image_size(arguments: Any) -> int:
    """The longest side that the network was trained for; Ultralytics takes the longer side of a list.

    Raises:
        WeightsError: it is no size of an image.
    """
    settings = arguments.state if isinstance(arguments, Record) else arguments
    size = settings.get("imgsz", 640) if isinstance(settings, Mapping) else 640
    sizes = size if isinstance(size, (list, tuple)) else [size]
    if not 1 <= len(sizes) <= 2 or not all(type(side) is int and 32 <= side <= 4096 for side in sizes):
        raise WeightsError(f"the checkpoint was trained for images of {quoted(size)} px, not of 32 to 4096")
    return max(sizes)
