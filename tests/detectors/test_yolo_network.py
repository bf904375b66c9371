"""The network of an Ultralytics checkpoint: equal to the library's own, and made of nothing but data."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bonefx.detectors.yolo import network as yolo_network
from bonefx.detectors.yolo.ultralytics_guard import YOLO, DetectionModel
from bonefx.errors import WeightsError
from bonefx.settings import packaged

BUNDLED = packaged("bundled") / "yolo26n_512.pt"


@pytest.fixture(scope="module")
def content():
    """Of the bundled checkpoint, as Ultralytics unpickles it."""
    return torch.load(BUNDLED, weights_only=False)


def saved(path: Path, content: dict, change: Callable[[dict], object] = lambda content: None) -> Path:
    changed = copy.deepcopy(content)
    change(changed)
    torch.save(changed, path)
    return path


def outputs(network: torch.nn.Module, end2end: bool) -> torch.Tensor:
    network.end2end = end2end
    images = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return network(images)[0]


@pytest.mark.slow
@pytest.mark.parametrize("end2end", [False, True])
def test_the_network_is_ultralytics_own_to_the_bit(end2end):
    network, size = yolo_network.read(BUNDLED)
    own = YOLO(BUNDLED, task="detect").model.float().eval()
    assert torch.equal(outputs(network, end2end), outputs(own, end2end))
    assert torch.equal(network.stride, own.stride.float())
    assert network.names == own.names
    assert size == 512


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["yolo26n", "yolo26n-p2", "yolo12n", "yolo11n", "yolov10n", "yolov9t", "yolov8n", "yolov6n", "yolov5n"],
)
def test_other_versions_are_read_too(tmp_path, name):
    own = DetectionModel(f"{name}.yaml", nc=7, verbose=False).half()
    torch.save({"model": own, "train_args": {"imgsz": 640}}, tmp_path / "a.pt")
    network, _ = yolo_network.read(tmp_path / "a.pt")
    assert torch.equal(outputs(network, False), outputs(own.float().eval(), False))
    assert torch.equal(network.stride, own.stride)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (448, 448),
        ([448, 448], 448),
        ((320, 640), 640),  # Ultralytics trains with the longer
        ([640], 640),
        (None, WeightsError),
        ("640", WeightsError),
        (0, WeightsError),
        (10**9, WeightsError),
        (float("inf"), WeightsError),
        ([], WeightsError),
        ([1, 2, 3], WeightsError),
    ],
)
def test_the_image_size(tmp_path, content, size, expected):
    path = saved(tmp_path / "a.pt", content, lambda c: c["train_args"].update(imgsz=size))
    if expected is WeightsError:
        with pytest.raises(WeightsError, match="images of"):
            yolo_network.read(path)
    else:
        assert yolo_network.read(path)[1] == expected


@pytest.mark.slow
def test_the_moving_average_is_preferred(tmp_path, content):
    average = copy.deepcopy(content["model"])
    average.names = {number: f"average {number}" for number in range(7)}
    path = saved(tmp_path / "a.pt", {**content, "ema": average})
    assert yolo_network.read(path)[0].names[0] == "average 0"


class Calls:
    """Pickled as the call of a function."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def first(content: dict) -> torch.nn.Module:
    return content["model"].model[0]


def fill(value: float) -> Callable[[dict], object]:
    return lambda content: next(content["model"].parameters()).detach().fill_(value)


def set_layer(index: int, layer: torch.nn.Module) -> Callable[[dict], object]:
    """Put another layer in one's place in the graph."""

    def change(content: dict) -> None:
        old = content["model"].model[index]
        layer.f, layer.i, layer.type = old.f, old.i, old.type
        content["model"].model[index] = layer

    return change


def contain_itself(content: dict) -> None:
    first(content).act = torch.nn.Sequential(first(content))


def multiply(content: dict) -> None:
    """Thirty layers, each twice the one before: 2^30 of them to whoever counts."""
    layer: torch.nn.Module = torch.nn.Identity()
    for _ in range(25):
        layer = torch.nn.Sequential(layer, layer)
    first(content).act = layer


NO_NETWORK = "no detection network"


def replace_first(layer: object) -> Callable[[dict], object]:
    return lambda content: content["model"].model._modules.update({"0": layer})


def torchvision() -> torch.nn.Module:
    from ultralytics.nn.modules.block import TorchVision

    return Calls(TorchVision, "resnet18", "DEFAULT")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        # numbers that no network works with
        (fill(float("nan")), "not finite"),
        (fill(float("inf")), "not finite"),
        (lambda c: c["model"].to(torch.complex64), "no real numbers"),
        (lambda c: setattr(first(c).conv, "weight", torch.nn.Parameter(torch.empty(0))), NO_NETWORK),
        (lambda c: first(c).bn.running_var.fill_(-1), "negative variances"),
        (lambda c: setattr(first(c).bn, "eps", float("nan")), NO_NETWORK),
        (lambda c: setattr(first(c).bn, "eps", float("inf")), NO_NETWORK),
        # another shape than the layers beside it, a layer too few, no head
        (
            lambda c: setattr(first(c).conv, "weight", torch.nn.Parameter(torch.ones(8, 1, 3, 3))),
            "no detection net",
        ),
        (lambda c: delattr(first(c), "conv"), NO_NETWORK),
        (lambda c: c["model"].model.__delitem__(23), "no detection head"),
        (lambda c: setattr(c["model"], "model", torch.nn.Sequential()), NO_NETWORK),
        (lambda c: setattr(c["model"], "model", torch.nn.ReLU()), NO_NETWORK),
        (lambda c: setattr(c["model"].model[23], "nc", 6), NO_NETWORK),
        # layers of other kinds: they may load from elsewhere, or call anything
        (set_layer(0, torch.nn.Linear(1, 1)), "not known here: 'torch.nn.modules.linear.Linear'"),
        (
            replace_first(torchvision()),
            "not known here: 'ultralytics.*TorchVision'",
        ),
        (replace_first(Calls(print, "ran")), "not known here: .*print"),
        (replace_first(5), "not known here: 'int'"),
        (lambda c: c.update(model=Calls(print, "ran")), "not an Ultralytics detection checkpoint"),
        (lambda c: c.update(model=c["model"].model[0]), "not an Ultralytics detection model"),
        # sizes out of all proportion
        (lambda c: setattr(first(c).conv, "padding", (10**5, 10**5)), "put out more than any image needs"),
        (
            lambda c: setattr(c["model"].model[11], "scale_factor", 1000.0),
            "put out more",
        ),
        (contain_itself, "more layers than any network"),
        (multiply, "more layers than any network"),
        # names
        (lambda c: setattr(c["model"], "names", {}), "does not name each of its 7 classes"),
        (lambda c: setattr(c["model"], "names", dict.fromkeys(range(7), 5)), "does not name each"),
        (lambda c: setattr(c["model"], "names", ["x" * 10_000] * 7), "does not name each"),
        # no checkpoint of this kind
        (lambda c: c.pop("model"), "not an Ultralytics detection checkpoint"),
        (lambda c: c.update(model={"a": torch.ones(1)}), "not an Ultralytics detection checkpoint"),
    ],
)
def test_a_checkpoint_that_is_not_sound_is_refused(tmp_path, content, change, words, capsys):
    path = saved(tmp_path / "a.pt", content, change)
    capsys.readouterr()
    with pytest.raises(WeightsError, match=words):
        yolo_network.read(path)
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_what_replaces_a_layers_own_is_not_taken(tmp_path, content):
    def change(content: dict) -> None:
        first(content).__dict__["forward"] = "another"
        first(content).register_forward_hook(print)
        content["model"].model[23].__dict__.update(export=True, xyxy=True, format="pb", _end2end="yes")
        content["model"].__dict__["predict"] = "another"

    plain, _ = yolo_network.read(BUNDLED)
    changed, _ = yolo_network.read(saved(tmp_path / "a.pt", content, change))
    assert torch.equal(outputs(changed, False), outputs(plain, False))


def test_nothing_is_asked_for_a_file_that_is_missing(tmp_path):
    with pytest.raises(WeightsError, match="No such file"):
        yolo_network.read(tmp_path / "yolo26n.pt")
