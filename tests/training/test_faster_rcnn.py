"""Training of the Faster R-CNN: it learns, it repeats itself, and what it writes is Detectron2's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from bonefx.detectors import faster_rcnn as adapter
from bonefx.detectors.base import Stopwatch
from bonefx.detectors.faster_rcnn import detectron2_yaml
from bonefx.detectors.faster_rcnn.config import Architecture, FasterRCNNConfig
from bonefx.errors import BoneFXError, DatasetError, WeightsError
from bonefx.training import batches, data, faster_rcnn
from bonefx.training.precision import computes_in_bfloat16
from bonefx.training.recipes import FASTER_RCNN
from bonefx.training.views import Views
from tests.golden import make_checkpoint
from tests.training import toy

TINY = toy.TINY_FASTER_RCNN


@pytest.fixture(scope="module")
def whole(toys, tmp_path_factory):
    """A run that was never stopped: its folder, its losses, and what its last detector found."""
    out, losses, found = tmp_path_factory.mktemp("whole"), [], []

    def on_epoch(epoch, detector):
        found.append(detector.detect(data.read_image(toys.samples[0].path), Stopwatch()))
        return epoch == 1

    files = faster_rcnn.train(
        TINY, toys, out, on_step=lambda step, total, loss: losses.append(loss), on_epoch=on_epoch
    )
    assert files == [out / "model_final.pth", out / "model_best.pth"]
    return out, losses, found


def weights(path):
    return torch.load(path, weights_only=True)["model"]


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.mark.slow
def test_some_steps_lower_the_loss(toys, tmp_path):
    losses = []
    recipe = replace(TINY, epochs=10, lr=1e-3, trunk_lr=1e-3, degrees=0.0, translate=0.0, scale=0.0)
    faster_rcnn.train(recipe, toys, tmp_path, on_step=lambda step, total, loss: losses.append(loss["loss"]))
    assert len(losses) == 30
    assert np.mean(losses[-6:]) < 0.4 * np.mean(losses[:6])


class _Stopped(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("last", [1, 3, 4])  # steps done: within an epoch, at its end, after it
def test_a_resumed_run_is_the_run_that_was_never_stopped(toys, whole, tmp_path, last):
    out, losses, _ = whole
    again = []

    def stop(step, total, loss):
        if step > last:
            raise _Stopped
        again.append(loss)

    with pytest.raises(_Stopped):
        faster_rcnn.train(TINY, toys, tmp_path, checkpoint_seconds=0, on_step=stop)
    faster_rcnn.train(TINY, toys, tmp_path, resume=True, on_step=lambda step, total, loss: again.append(loss))
    assert again == losses
    assert_same(weights(tmp_path / "model_final.pth"), weights(out / "model_final.pth"))


@pytest.mark.slow
def test_an_epoch_that_was_stopped_while_it_was_measured_is_measured_again(toys, tmp_path):
    epochs, steps = [], []

    def on_epoch(epoch, detector):
        epochs.append(epoch)
        if len(epochs) == 1:
            raise _Stopped
        return False

    def train(resume):
        faster_rcnn.train(
            TINY,
            toys,
            tmp_path,
            resume=resume,
            on_epoch=on_epoch,
            on_step=lambda step, total, loss: steps.append(step),
        )

    with pytest.raises(_Stopped):
        train(resume=False)
    train(resume=True)
    assert epochs == [1, 1, 2]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_reloaded_weights_find_the_same_boxes(toys, whole):
    out, _, found = whole
    for name, before in (("model_final", found[-1]), ("model_best", found[0])):
        detector = adapter.load(out / f"{name}.pth", out / f"{name}.yaml", "torchvision")
        after = detector.detect(data.read_image(toys.samples[0].path), Stopwatch())
        assert len(after) > 0
        # The memory layout differs, and with it the order of the sums.
        np.testing.assert_allclose(after.boxes, before.boxes, atol=1e-3)
        np.testing.assert_allclose(after.scores, before.scores, atol=1e-5)


def test_the_checkpoint_keeps_its_parts(whole):
    state = torch.load(whole[0] / "last.pth", weights_only=True)
    assert set(state) == {"model", "average", "optimizer", "schedule", "step"}
    assert state["step"] == 6


def test_settings_and_shapes_survive_the_files(whole):
    path = whole[0] / "model_final.yaml"
    architecture = faster_rcnn.build(TINY).architecture
    assert detectron2_yaml.read(path, architecture) == TINY.config
    shapes = {name: tuple(value.shape) for name, value in weights(path.with_suffix(".pth")).items()}
    assert Architecture.from_shapes(shapes) == architecture
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert tree["MODEL"]["ROI_HEADS"]["NUM_CLASSES"] == 6
    assert tree["MODEL"]["FPN"]["IN_FEATURES"] == ["res3", "res4"]


@pytest.mark.slow
def test_the_original_recipe_makes_detectron2s_own_tensors():
    """The golden checkpoint is one that Detectron2 loads and runs."""
    golden = {name: value.shape for name, value in make_checkpoint.state_dict().items()}
    recipe = FASTER_RCNN["original"]
    with torch.device("meta"):
        ours = {n: tuple(v.shape) for n, v in faster_rcnn.build(recipe).state_dict().items()}
    assert ours == golden
    assert recipe.config == FasterRCNNConfig()


def test_half_precision_keeps_what_it_cannot_hold(tmp_path):
    network = faster_rcnn.build(TINY).eval()
    network.backbone.bottom_up.stem.conv1.norm.running_var.fill_(83_615.0)  # as in the MSRA trunk
    faster_rcnn.write(network, tmp_path / "half.pth", torch.float16)
    state = weights(tmp_path / "half.pth")
    kinds = {value.dtype for value in state.values() if value.ndim > 1}
    assert kinds == {torch.float16}
    assert state["backbone.bottom_up.stem.conv1.norm.running_var"].max() == 83_615.0
    adapter.load(tmp_path / "half.pth", tmp_path / "half.yaml", "torchvision")


@pytest.mark.parametrize(
    ("step", "total", "share"),
    [
        (0, 15_000, 0.001),  # a thousand steps of warm-up
        (999, 15_000, 1.0),
        (9_999, 15_000, 1.0),
        (10_000, 15_000, 0.1),
        (13_000, 15_000, 0.01),
        (1_999, 3_000, 1.0),  # a shorter run falls at the same shares of it
        (2_000, 3_000, 0.1),
        (0, 10, 0.5),  # and warms up in a fifth of it
        (0, 1, 1.0),
    ],
)
def test_the_original_rate(step, total, share):
    assert faster_rcnn.rate(step, total, FASTER_RCNN["original"]) == pytest.approx(share)


def test_the_original_augmentation_is_a_flip():
    names = [type(step).__name__ for step in batches.augmentation(FASTER_RCNN["original"]).transforms]
    assert names == ["RandomHorizontalFlip", "ClampBoundingBoxes", "SanitizeBoundingBoxes"]


def test_every_image_once_an_epoch_and_another_order_in_the_next():
    ratios = np.random.default_rng(0).uniform(0.5, 2, 203)
    one, two = (batches.groups(ratios, 4, seed=1, epoch=epoch) for epoch in (0, 1))
    assert len(one) == 50
    assert len(np.unique(np.concatenate(one))) == 200
    assert not np.array_equal(np.concatenate(one), np.concatenate(two))
    spread = np.mean([np.ptp(ratios[group]) for group in one])
    assert spread < 0.25 * np.ptp(ratios)


@pytest.mark.parametrize(("capability", "native"), [("avx2", False), ("avx512_bf16", True)])
def test_a_processor_is_not_made_to_emulate_bfloat16(monkeypatch, capability, native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True})
    assert computes_in_bfloat16("cpu") is native


def test_the_number_of_loading_processes_does_not_matter(toys):
    members = batches.groups(np.ones(6), 2, seed=0, epoch=0)
    alone, together = (
        list(batches.loader(toys.samples, data.Reader(96), members, 7, TINY, 16, workers))
        for workers in (0, 2)
    )
    for one, two in zip(alone, together, strict=True):
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.random_state, two.random_state)
        assert all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(one.targets, two.targets, strict=True))


def test_targets_follow_the_image(toys):
    """The bright rectangle must lie in the target box after every change of the image."""
    recipe = replace(TINY, views=Views())
    augment = batches.augmentation(recipe)
    sample = toys.samples[0]
    seen = 0
    for seed in range(10):
        torch.manual_seed(seed)
        rgb, target = batches.load_sample(sample, data.Reader(96)(sample.path), recipe, augment)
        for x1, y1, x2, y2 in target["boxes"].round().int().tolist():
            seen += 1
            outside = rgb.copy()
            outside[max(y1 - 2, 0) : y2 + 2, max(x1 - 2, 0) : x2 + 2] = 0
            assert (rgb[y1:y2, x1:x2] > 130).mean() > 0.5
            assert (outside > 130).mean() < 0.01
        assert target["labels"].tolist() == [1] * len(target["boxes"])
    assert seen >= 8


def trunk(path, change=lambda name: name):
    state = faster_rcnn.build(TINY).backbone.bottom_up.state_dict()
    np.savez(path, **{change(name): value.numpy() for name, value in state.items()})
    return path


def test_a_trunk_is_taken_over_and_what_it_lacks_is_told(tmp_path):
    torch.manual_seed(1)
    path = trunk(tmp_path / "trunk.npz")
    with np.load(path) as arrays:
        partial = {name: arrays[name] for name in arrays.files if not name.startswith("res4")}
    np.savez(path, **partial)
    torch.manual_seed(2)
    network = faster_rcnn.build(TINY)
    fresh = faster_rcnn.load_init(network, path)
    assert fresh
    assert all(name.startswith("res4") for name in fresh)
    own = network.backbone.bottom_up.state_dict()
    assert all(np.array_equal(own[name].numpy(), value) for name, value in partial.items())


def test_what_starts_random_is_said(toys, tmp_path):
    state = faster_rcnn.build(TINY).state_dict()
    state.pop("roi_heads.box_predictor.cls_score.bias")
    torch.save({"model": state}, tmp_path / "x.pth")
    with pytest.warns(
        UserWarning, match=r"x\.pth lacks 1 tensors, roi_heads\.box_predictor\.cls_score\.bias"
    ):
        faster_rcnn.train(replace(TINY, epochs=1), toys, tmp_path / "run", init=tmp_path / "x.pth")


def test_a_checkpoint_with_other_classes_keeps_all_but_the_output_layers(tmp_path):
    state = faster_rcnn.build(TINY).state_dict()
    state["roi_heads.box_predictor.cls_score.weight"] = torch.zeros(81, 64)
    state["roi_heads.box_predictor.cls_score.bias"] = torch.zeros(81)
    torch.save({"model": state}, tmp_path / "coco.pth")
    network = faster_rcnn.build(TINY)
    assert faster_rcnn.load_init(network, tmp_path / "coco.pth") == [
        "roi_heads.box_predictor.cls_score.weight",
        "roi_heads.box_predictor.cls_score.bias",
    ]
    assert torch.equal(network.backbone.fpn_lateral3.weight, state["backbone.fpn_lateral3.weight"])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        # a trunk under other names
        (lambda p: trunk(p / "x.npz", lambda name: f"layer.{name}"), "does not fit"),
        # no arrays
        (lambda p: (p / "x.npz").write_text("nothing"), "cannot be read as NumPy arrays"),
        # a network with a deeper trunk
        (
            lambda p: torch.save(
                faster_rcnn.build(replace(TINY, stages=(1, 1, 2))).state_dict(), p / "x.pth"
            ),
            r"res4\.1.* is not in both",
        ),
        # a network with a wider pyramid
        (
            lambda p: torch.save(faster_rcnn.build(replace(TINY, channels=64)).state_dict(), p / "x.pth"),
            "fpn_lateral3.weight is not in both, or has another shape",
        ),
        # no checkpoint
        (lambda p: (p / "x.pth").write_text("nothing"), "damaged"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, make, words):
    make(tmp_path)
    (path,) = tmp_path.iterdir()
    with pytest.raises(WeightsError, match=words):
        faster_rcnn.load_init(faster_rcnn.build(TINY), path)


def test_fewer_images_than_a_step_takes(toys, tmp_path):
    with pytest.raises(DatasetError, match="takes 8 images; there are only 6"):
        faster_rcnn.train(replace(TINY, batch=8), toys, tmp_path)


def test_a_loss_that_explodes_ends_the_run(toys, tmp_path):
    with pytest.raises(BoneFXError, match="no longer a number"):
        faster_rcnn.train(replace(TINY, lr=1e30, warmup=1, optimizer="sgd"), toys, tmp_path)
