"""Training of the YOLO: it learns, it repeats itself, and what it writes tells nothing of the machine."""

from __future__ import annotations

import pickletools
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import bonefx.detectors.yolo.ultralytics_guard  # noqa: F401  first: Ultralytics changes Pillow when it is imported

# isort: split
from ultralytics.nn.tasks import torch_safe_load

from bonefx.detectors import yolo as adapter
from bonefx.detectors.base import Stopwatch
from bonefx.errors import BoneFXError, WeightsError
from bonefx.labels import DATASET_CLASSES
from bonefx.settings import packaged
from bonefx.training import data, yolo
from tests.training import toy

pytestmark = pytest.mark.slow

RECIPE = replace(toy.TINY_YOLO, epochs=4)
BUNDLED = packaged("bundled") / "yolo26n_512.pt"


@pytest.fixture(scope="module")
def whole(toys, tmp_path_factory):
    """A run that was never stopped: its folder, its losses, and what its last detector found."""
    out, losses, found = tmp_path_factory.mktemp("whole"), [], []

    def on_epoch(epoch, detector):
        found.append(detector.detect(data.read_image(toys.samples[0].path), Stopwatch()))
        return epoch == 2

    threads = torch.get_num_threads()
    files = yolo.train(
        RECIPE, toys, out, on_step=lambda step, total, loss: losses.append(loss), on_epoch=on_epoch
    )
    assert files == [out / "model_final.pt", out / "model_best.pt"]
    assert torch.get_num_threads() == threads
    return out, losses, found


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch_safe_load(path, safe_only=True)[0]["model"].state_dict()


def test_some_steps_lower_the_loss(toys, tmp_path):
    losses = []
    calm = {"close_mosaic": 8, "warmup_epochs": 0.0, "translate": 0.0, "scale": 0.0}
    recipe = replace(RECIPE, epochs=8, batch=3, nominal_batch=3, lr=0.003, **calm)
    yolo.train(
        recipe,
        toys,
        tmp_path,
        init=BUNDLED,
        on_step=lambda step, total, loss: losses.append(loss["loss"]),
    )
    assert len(losses) == 16
    assert np.mean(losses[-4:]) < 0.7 * np.mean(losses[:4])


class _Stopped(Exception):
    pass


def test_a_resumed_run_is_the_run_that_was_never_stopped(toys, whole, tmp_path):
    """Stopped while the second epoch is measured, and in the midst of the third."""
    out, losses, _ = whole
    epochs, again = [], []

    def on_epoch(epoch, detector):
        epochs.append(epoch)
        if epochs == [1, 2]:
            raise _Stopped
        return False

    def on_step(step, total, loss):
        assert total == 12
        again.append((step, loss))
        if [number for number, _ in again].count(8) == 1 and step == 8:
            raise _Stopped

    for _ in range(2):
        with pytest.raises(_Stopped):
            yolo.train(RECIPE, toys, tmp_path, resume=True, on_step=on_step, on_epoch=on_epoch)
    yolo.train(RECIPE, toys, tmp_path, resume=True, on_step=on_step, on_epoch=on_epoch)

    assert epochs == [1, 2, 2, 2, 3, 4]
    assert [step for step, _ in again] == [1, 2, 3, 4, 5, 6, 7, 8, 7, 8, 9, 10, 11, 12]
    assert [loss for _, loss in again] == losses[:8] + losses[6:]
    one, two = (torch.load(folder / "last.pth", weights_only=True) for folder in (out, tmp_path))
    for part in ("model", "average"):
        assert all(torch.equal(value, two[part][name]) for name, value in one[part].items())
    assert one["gathered"] == two["gathered"]


def test_a_complete_run_is_not_trained_further(toys, whole):
    steps, epochs = [], []
    files = yolo.train(
        RECIPE,
        toys,
        whole[0],
        resume=True,
        on_step=lambda step, total, loss: steps.append(step),
        on_epoch=lambda epoch, detector: epochs.append(epoch) or False,
    )
    assert (len(files), steps, epochs) == (2, [], [4])


def test_reloaded_weights_find_the_same_boxes(toys, whole):
    out, _, found = whole
    for name, before in (("model_final", found[3]), ("model_best", found[1])):
        after = adapter.load(out / f"{name}.pt").detect(data.read_image(toys.samples[0].path), Stopwatch())
        assert len(after) > 0
        np.testing.assert_array_equal(after.boxes, before.boxes)
        np.testing.assert_array_equal(after.scores, before.scores)


def test_the_weight_file_holds_the_model_and_nothing_else(whole, tmp_path_factory):
    path = whole[0] / "model_final.pt"
    content = torch_safe_load(path, safe_only=True)[0]
    assert set(content) == {"model", "train_args", "version", "license"}
    assert content["train_args"] == content["model"].args == {"task": "detect", "imgsz": toy.SIZE}
    assert tuple(content["model"].names.values()) == DATASET_CLASSES
    assert {value.dtype for value in content["model"].parameters()} == {torch.float16}
    with zipfile.ZipFile(path) as archive:
        (pickle,) = (archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
    texts = {argument for _, argument, _ in pickletools.genops(pickle) if isinstance(argument, str)}
    assert {text for text in texts if "/" in text or "\\" in text} == {content["license"]}


def test_an_item_depends_on_seed_epoch_and_index_alone(toys, tmp_path):
    trainer = yolo.Trainer(RECIPE, toys, tmp_path, "cpu", tmp_path, None, 1)
    trainer.model = trainer.get_model("yolo26n.yaml", verbose=False)
    images = trainer.build_dataset("", "train", 2)

    def read(index):
        return {name: images[index][name] for name in ("img", "bboxes", "cls")}

    def same(one, other):
        return all(torch.equal(value, other[name]) for name, value in one.items())

    first = read(3)
    read(1)
    assert same(read(3), first)
    assert not torch.equal(read(4)["img"], first["img"])
    loader = DataLoader(images, batch_size=None, num_workers=2, collate_fn=lambda item: item)
    elsewhere = [item for item in loader if item["im_file"] == str(toys.samples[3].path)]
    assert same(first, elsewhere[0])
    images.epoch = 1
    assert not torch.equal(read(3)["img"], first["img"])


def test_labels_keep_the_data_sets_own_classes_and_outlines(toys, tmp_path):
    trainer = yolo.Trainer(RECIPE, toys, tmp_path, "cpu", tmp_path, None, 1)
    trainer.model = trainer.get_model("yolo26n.yaml", verbose=False)
    plain = trainer.build_dataset("", "val", 2)
    for sample, index in zip(toys.samples, range(6), strict=True):
        item = plain[index]
        assert item["cls"].flatten().tolist() == sample.own_ids.tolist()
        assert len(item["bboxes"]) == len(sample.boxes)
        for (x, y, w, h), box in zip(item["bboxes"].tolist(), sample.boxes, strict=True):
            side = max(sample.width, sample.height)  # the long side fills the square
            margin = [(side - sample.width) / 2, (side - sample.height) / 2] * 2
            corners = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) * side - margin
            np.testing.assert_allclose(corners, box, atol=1.5)


def test_training_starts_from_the_weights_that_are_given(toys, tmp_path):
    """At a rate of nothing the convolutions stay as they were."""
    recipe = replace(RECIPE, epochs=1, lr=0.0, batch=6)
    yolo.train(recipe, toys, tmp_path, init=BUNDLED)
    before, after = weights(BUNDLED), weights(tmp_path / "model_final.pt")
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items() if value.ndim == 4)


class _Hostile:
    def __reduce__(self):
        return (Path.write_text, (Path("ran.txt"), "code from a weight file ran"))


@pytest.mark.parametrize(
    ("make", "architecture", "words"),
    [
        (lambda path: None, "yolo26n", "No such file"),  # missing: GitHub is not asked
        (lambda path: path.write_bytes(BUNDLED.read_bytes()), "yolo26s", "another network than yolo26s"),
        (lambda path: path.write_bytes(BUNDLED.read_bytes()[:100_000]), "yolo26n", "damaged"),
        (lambda path: torch.save({"model": _Hostile()}, path), "yolo26n", "not an Ultralytics detection"),
    ],
)
def test_weights_that_do_not_fit_are_refused(toys, tmp_path, monkeypatch, make, architecture, words):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "init.pt")
    with pytest.raises(WeightsError, match=words):
        yolo.train(
            replace(RECIPE, architecture=architecture), toys, tmp_path / "run", init=tmp_path / "init.pt"
        )
    assert not (tmp_path / "ran.txt").exists()


def test_a_loss_that_explodes_ends_the_run(toys, tmp_path):
    recipe = replace(RECIPE, box=1e39)
    with pytest.raises(BoneFXError, match="no longer a number"):
        yolo.train(recipe, toys, tmp_path)
