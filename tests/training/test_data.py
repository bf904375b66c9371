"""The training split is read strictly, with every lesion's own class and outline."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from bonefx.errors import DatasetError
from bonefx.labels import CLASSES, DATASET_CLASSES, class_id
from bonefx.training import data
from tests.training import toy


@pytest.fixture
def root(tmp_path):
    return toy.write(tmp_path / "set")


def test_boxes_and_polygons_become_the_same_kind_of_sample(root):
    loaded = data.load(root)
    assert loaded.names == DATASET_CLASSES
    assert [len(sample.boxes) for sample in loaded.samples] == [1, 1, 0, 1, 1, 0]
    for sample in loaded.samples:
        for box, polygon, own, ours in zip(
            sample.boxes, sample.polygons, sample.own_ids, sample.class_ids, strict=True
        ):
            corners = polygon * [sample.width, sample.height]
            np.testing.assert_allclose([*corners.min(axis=0), *corners.max(axis=0)], box, atol=1e-3)
            assert class_id(DATASET_CLASSES[own]) == ours
    own = np.concatenate([sample.own_ids for sample in loaded.samples])
    np.testing.assert_array_equal(own, [0, 1, 3, 4])
    assert CLASSES[loaded.samples[3].class_ids[0]] == "humerus"  # 3 and 4 are one to us


def test_the_other_layout_holds_the_same_samples(root, tmp_path):
    other = tmp_path / "other"
    for part in ("images", "labels"):
        shutil.copytree(root / "train" / part, other / part / "train")
    shutil.copy(root / "data.yaml", other)
    for one, two in zip(data.load(root).samples, data.load(other).samples, strict=True):
        np.testing.assert_array_equal(one.own_ids, two.own_ids)
        np.testing.assert_array_equal(one.boxes, two.boxes)


def one_class(train):
    (train.parent / "data.yaml").write_text("names: [fracture]")
    for file in (train / "labels").iterdir():
        file.write_text("0 0.5 0.5 0.2 0.2")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        # a row with a column too few
        (lambda t: (t / "labels/arm0.txt").write_text("0 0.5 0.5 0.2"), "arm0.txt, line 1: it has 4 columns"),
        # a class that data.yaml does not have
        (lambda t: (t / "labels/arm1.txt").write_text("7 0.5 0.5 0.2 0.2"), "class 7 is not one of 0 to 6"),
        # pixels for fractions
        (lambda t: (t / "labels/arm1.txt").write_text("1 50 50 20 20"), "must be fractions"),
        # an image lost
        (lambda t: (t / "images/arm1.png").unlink(), "arm1.txt: there is no image of this name"),
        # a file that is no image
        (lambda t: (t / "images/arm1.png").write_text("<html>"), "cannot be read as an image"),
        # only images without a fracture
        (lambda t: [file.write_text("") for file in (t / "labels").iterdir()], "no lesion in any image"),
        # no class names
        (lambda t: (t.parent / "data.yaml").unlink(), "must list the class names"),
        # names that are none of ours
        (lambda t: (t.parent / "data.yaml").write_text("names: [person]"), "person.*not known"),
        # one class for all sites
        (one_class, "models learn sites"),
        # no images at all
        (lambda t: shutil.rmtree(t), "no split 'train'"),
    ],
)
def test_an_unusable_data_set_is_refused_in_words(root, damage, words):
    damage(root / "train")
    with pytest.raises(DatasetError, match=words):
        data.load(root)


def test_a_row_that_repeats_another_is_learnt_once(root):
    file = root / "train" / "labels" / "arm1.txt"
    box = "2 0.5 0.5 0.2 0.4"
    file.write_text(f"{box}\n{box}\n{file.read_text()}")
    sample = data.load(root).samples[1]
    assert sample.own_ids.tolist() == [2, 1]
    np.testing.assert_allclose(sample.polygons[0].min(axis=0), [0.4, 0.3], atol=1e-6)


def test_many_problems_are_counted_not_all_listed(root):
    for number in range(20):
        (root / "train" / "labels" / f"lost{number}.txt").write_text("")
    with pytest.raises(DatasetError, match="and 15 more") as raised:
        data.load(root)
    assert len(str(raised.value).splitlines()) == 7


def test_an_image_that_is_cut_off_is_named_when_it_is_read(root):
    path = root / "train" / "images" / "arm0.png"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DatasetError, match=r"arm0\.png cannot be used\. .*cut off"):
        data.read_image(path)


def test_copies_of_an_image_stay_on_one_side(root):
    for part, suffix in (("images", "png"), ("labels", "txt")):
        for file in list((root / "train" / part).iterdir()):
            for copy in ("0a", "1b", "2c"):
                shutil.copy(file, file.with_name(f"{file.stem}_png.rf.{copy}.{suffix}"))
            file.unlink()
    train, held = data.hold_out(data.load(root))
    kept = {sample.path.name.partition(".")[0] for sample in train.samples}
    tuned = {image.file_name.partition(".")[0] for image in held.images}
    assert not kept & tuned
    assert len(train.samples) == len(train.dataset.images) == 15
    assert [sample.path for sample in train.samples] == [image.path for image in train.dataset.images]


def test_too_few_to_hold_some_out(tmp_path):
    with pytest.raises(DatasetError, match="too few"):
        data.hold_out(data.load(toy.write(tmp_path / "one", images=1)))


def test_other_data_are_mixed_in_only_where_the_classes_are_the_same(root, tmp_path):
    one, two = data.load(root), data.load(toy.write(tmp_path / "two", images=3))
    mixed = one.mixed_with(two)
    assert mixed.samples == one.samples + two.samples
    assert mixed.dataset is one.dataset
    text = (tmp_path / "two" / "data.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    lines[1], lines[2] = lines[2], lines[1]
    (tmp_path / "two" / "data.yaml").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"classes of set .* are not those of two"):
        one.mixed_with(data.load(tmp_path / "two"))


def test_near_twins_of_a_table_stay_on_one_side(root):
    toy.write_groups(root)
    train, held = data.hold_out(data.load(root))
    sides = [{int(image.file_name[3]) % 2 for image in part.images} for part in (train.dataset, held)]
    assert sorted(map(sorted, sides)) == [[0], [1]]


def test_a_table_that_is_none_is_refused(root):
    (root / "table.csv").write_text("file;twin\narm0;a\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="columns image and group"):
        data.load(root)


@pytest.mark.parametrize(
    ("times", "samples", "least", "most"),  # least and most often that an image is among the samples
    [(1, 6, 1, 1), (3, 18, 3, 3), (0.5, 3, 0, 1), (1.5, 9, 1, 2)],
)
def test_a_data_set_is_repeated(root, times, samples, least, most):
    repeated = data.load(root).repeated(times, seed=3)
    paths = [sample.path for sample in repeated.samples]
    often = [paths.count(image.path) for image in repeated.dataset.images]
    assert (len(paths), min(often), max(often)) == (samples, least, most)
    assert paths == [sample.path for sample in data.load(root).repeated(times, seed=3).samples]


def test_a_large_image_is_made_smaller_and_read_once(root, monkeypatch):
    reader, path = data.Reader(60), root / "train" / "images" / "arm0.png"
    whole = data.read_image(path)
    reader.read_ahead([path, path])
    monkeypatch.setattr(data, "read_image", None)
    assert (whole.shape[:2], reader(path).shape) == ((100, 120), (50, 60))


def test_a_small_image_is_read_as_it_is(root):
    path = root / "train" / "images" / "arm0.png"
    np.testing.assert_array_equal(data.Reader(120)(path), data.read_image(path)[:, :, 0])


def test_images_beyond_the_memory_are_read_again(root, monkeypatch):
    first, second = (root / "train" / "images" / f"arm{i}.png" for i in range(2))
    reader = data.Reader(1000, memory=13_000)  # the first has 12,000 pixels
    read = []
    monkeypatch.setattr(
        data, "read_image", lambda path: read.append(path) or np.zeros((100, 120, 3), np.uint8)
    )
    for path in (first, second, first, second):
        reader(path)
    assert read == [first, second, second]


def test_an_image_that_cannot_be_read_ahead_is_named(root):
    path = root / "train" / "images" / "arm0.png"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DatasetError, match=r"arm0\.png cannot be used"):
        data.Reader(60).read_ahead([path])
