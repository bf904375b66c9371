"""`python -m bonefx evaluate`, on the real bundled YOLO and a made data set."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from bonefx.__main__ import main
from bonefx.calibration import calibration_of
from bonefx.commands import evaluate as command
from bonefx.consensus import CONSENSUS
from bonefx.detectors import MODELS
from bonefx.evaluation import consensus, report, score
from bonefx.evaluation.store import METRICS, PREDICTIONS, Store, read_ground_truth, read_results
from bonefx.labels import DATASET_CLASSES
from bonefx.results import Identity
from bonefx.settings import packaged
from tests import hub_server
from tests.evaluation import toy
from tests.loads import load_by

IMAGES = 40
FIGURES = ("protocol", "dataset", "coco", "froc", "image_level")
REPO = "owner/metrics"


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv("BONEFX_HUB", "off")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Small phantoms, each another; two of three have a label; one row is bad."""
    root = tmp_path_factory.mktemp("data") / "made"
    for kind in ("images", "labels"):
        (root / "valid" / kind).mkdir(parents=True)
    phantoms = [Image.open(path).convert("L") for path in sorted(packaged("examples").glob("wrist-*.png"))]
    for i in range(IMAGES):
        small = phantoms[i % len(phantoms)].rotate(i).resize((100, 120))
        small.save(root / f"valid/images/{i:02d}.png")
        label = f"{i % 7} {(30 + i) / 100} 0.5 0.3 0.3\n" if i % 3 else ""
        (root / f"valid/labels/{i:02d}.txt").write_text(label + ("0 0.5 0.5\n" if i == 4 else ""))
    (root / "data.yaml").write_text(json.dumps({"names": DATASET_CLASSES}))
    return root


def evaluate(*arguments: object) -> int:
    return main(["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def evaluated(data, tmp_path_factory) -> Path:
    """The folder of an evaluation that nothing disturbed."""
    out = tmp_path_factory.mktemp("evaluated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BONEFX_HUB", "off")
        assert evaluate("--data", data, "--model", "yolo", "--out", out) == 0
    return out


@pytest.fixture
def out(evaluated, tmp_path) -> Path:
    """A copy of it, to change."""
    return Path(shutil.copytree(evaluated, tmp_path / "out"))


def contents(folder: Path) -> dict[str, bytes]:
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in sorted(files.items())}


def timeless(path: Path) -> dict:
    return {**report.read(path), "created": None, "timing": None}


@pytest.mark.slow
def test_a_cluster_predicts_the_same(data, evaluated, tmp_path, capsys):
    assert evaluate("--data", data, "--model", "yolo", "--out", tmp_path, "--ray") == 0
    made = contents(tmp_path)
    assert made.keys() == contents(evaluated).keys()  # the shards are gone
    assert made["predictions/ground_truth.json"] == contents(evaluated)["predictions/ground_truth.json"]
    both = (json.loads(each["predictions/yolo.json"]) for each in (made, contents(evaluated)))
    for ours, theirs in zip(*both, strict=True):
        corners = [(x, y, x + w, y + h) for x, y, w, h in (ours.pop("bbox"), theirs.pop("bbox"))]
        assert corners[0] == pytest.approx(corners[1], abs=0.0101)
        assert ours == theirs
    there, here = (timeless(folder / "metrics_yolo.json") for folder in (tmp_path, evaluated))
    assert there["froc"]["any_fracture"]["points"] == here["froc"]["any_fracture"]["points"]
    assert evaluate("--data", data, "--model", "yolo", "--out", tmp_path, "--ray") == 0
    assert "is up to date" in capsys.readouterr().err


@pytest.mark.slow
def test_metrics_say_what_was_measured_with_what(evaluated):
    assert list(contents(evaluated)) == [
        "metrics_yolo.json",  # the name that the app fetches
        "predictions/ground_truth.json",
        "predictions/yolo.json",
        "predictions/yolo.run.json",
    ]
    made = report.read(evaluated / "metrics_yolo.json")
    (member,) = made["detector"]["members"]
    weights = packaged("bundled") / MODELS["yolo"].bundled
    assert (member["source"], member["file"]) == ("bundled", weights.name)
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert report.applies_to(made, [Identity(sha256, member["nms"], 512)])
    assert {"bonefx", "numpy", "pillow", "pycocotools", "torch", "torchvision"} <= set(made["versions"])
    assert set(made["timing"]["ms_per_image"]) == {"preprocess", "network", "postprocess", "total"}
    assert made["timing"]["processor"]
    summary = made["dataset"]
    assert (summary["images"], summary["boxes"], summary["fracture_free"]) == (40, 26, 14)
    assert summary["problems"] == 1


def test_predictions_are_coco_results(evaluated):
    rows = read_results(evaluated / "predictions/yolo.json")
    assert len(rows) > 100
    assert set(rows[0]) == {"image_id", "category_id", "bbox", "score"}
    assert max(np.bincount([row["image_id"] for row in rows])) <= 100
    assert min(row["score"] for row in rows) >= 0.001


def test_what_is_wrong_with_the_data_is_told(data, evaluated, tmp_path, capsys):
    """Bad rows, and an image whose header is whole but whose pixels are not: no model can look at it."""
    root = Path(shutil.copytree(data, tmp_path / "made"))
    whole = (root / "valid/images/05.png").read_bytes()
    (root / "valid/images/05.png").write_bytes(whole[: len(whole) // 2])
    file = evaluated / "predictions/yolo.json"
    assert evaluate("--predictions", file, "--data", root, "--out", tmp_path / "own.json") == 1
    told = capsys.readouterr().err
    assert "04.txt, line 2: it has 3 columns" in told
    assert "05.png: " in told
    assert "2 left out" in told
    assert "the data set has images 1 to 39" in told  # and so these predictions are not of this data


# Once more


def test_the_same_command_again_predicts_nothing_and_changes_nothing(data, out, capsys):
    before = contents(out)
    assert evaluate("--data", data, "--model", "yolo", "--out", out) == 0
    assert contents(out) == before
    assert "is up to date" in capsys.readouterr().err


def test_without_a_model_and_without_the_images(out, capsys):
    before = contents(out)
    (out / "metrics_yolo.json").unlink()
    assert evaluate("--rescore", "--out", out) == 0
    after = contents(out)
    assert timeless(out / "metrics_yolo.json") == {
        **json.loads(before.pop("metrics_yolo.json")),
        "created": None,
        "timing": None,
    }
    del after["metrics_yolo.json"]
    assert after == before
    assert "| YOLO | `yolo26n_512.pt` |" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(data, evaluated, tmp_path, capfd):
    """Killed, then stopped by Ctrl-C, then left alone: the same bytes as in one go."""
    command = ["--data", data, "--model", "yolo", "--out", tmp_path / "out"]
    journal = Store(tmp_path / "out/predictions").journal("yolo")
    done = 0
    for number, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        with (tmp_path / "err").open("w+") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "bonefx", "evaluate", *map(str, command)],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=err,
                stderr=err,
            )
            lines = wait_for_lines(journal, done + 4, process)
            process.send_signal(number)
            assert process.wait(60) == status
            err.seek(0)
            text = err.read()
        assert f" {done}/{IMAGES} [" in text  # where it went on
        assert "Traceback" not in text
        assert ("The same command goes on from here" in text) == (status == 130)
        whole = journal.read_bytes().count(b"\n") - 1
        assert lines - 1 <= whole < IMAGES
        done = whole
    assert not (tmp_path / "out/metrics_yolo.json").exists()
    assert evaluate(*command) == 0
    assert f" {done}/{IMAGES} [" in capfd.readouterr().err
    expected, found = contents(evaluated), contents(tmp_path / "out")
    assert found.keys() == expected.keys()
    for name in ("predictions/ground_truth.json", "predictions/yolo.json"):
        assert found[name] == expected[name]
    assert timeless(tmp_path / "out/metrics_yolo.json") == timeless(evaluated / "metrics_yolo.json")


def wait_for_lines(path: Path, number: int, process: subprocess.Popen) -> int:
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        lines = path.read_bytes().count(b"\n") if path.exists() else 0
        if lines >= number:
            return lines
        time.sleep(0.01)
    raise AssertionError("it did not get that far")


def test_a_model_that_fails_leaves_what_was_predicted(data, tmp_path, monkeypatch, capsys):
    class Tired:
        """Fails on the third image, as one that runs out of memory does."""

        def __init__(self, real):
            self.real, self.left = real, 2
            self.runtime, self.nms, self.image_size = real.runtime, real.nms, real.image_size

        def detect(self, rgb, stopwatch):
            self.left -= 1
            if self.left < 0:
                raise MemoryError("no room")
            return self.real.detect(rgb, stopwatch)

        def finish_preparing(self):
            self.real.finish_preparing()

    load = load_by(monkeypatch, "yolo", lambda *args: Tired(load(*args)))
    for done in (0, 2):
        assert evaluate("--data", data, "--model", "yolo", "--out", tmp_path) == 1
        told = capsys.readouterr().err
        assert f" {done}/{IMAGES} [" in told
        assert f"YOLO failed on 0{done + 2}.png (MemoryError: no room)" in told
        assert "Traceback" not in told


# Two models, and other data


def second_model(store: Store) -> list[dict]:
    """Store predictions of a second model, and tell them."""
    mine = store.run("yolo")
    rows = [{**row, "score": round(row["score"] * 0.9, 6)} for row in read_results(store.predictions("yolo"))]
    member = {**mine.detector["members"][0], "file": "other.pth", "sha256": "0" * 64}
    other = {"id": "faster-rcnn", "name": "Faster R-CNN", "method": None, "members": [member]}
    store.write_run("faster-rcnn", rows[::2], mine.key, other, mine.timing)
    return rows[::2]


def test_models_are_compared_on_the_same_resamples(out, capsys):
    """With predictions of a second model in the store, both files tell of the difference."""
    second_model(Store(out / "predictions"))
    assert evaluate("--rescore", "--out", out) == 0
    rcnn, yolo = (report.read(out / f"metrics_{name}.json") for name in ("frcnn", "yolo"))
    fused = report.read(out / "metrics_consensus.json")
    mine, theirs = yolo["comparisons"], rcnn["comparisons"]
    assert [each["detector"] for each in mine] == [rcnn["detector"], fused["detector"]]
    assert [each["detector"] for each in theirs] == [yolo["detector"], fused["detector"]]
    assert mine[0]["auc"]["difference"] == -theirs[0]["auc"]["difference"]
    text = capsys.readouterr().out
    assert text.index("| Faster R-CNN |") < text.index("| YOLO |") < text.index("| Consensus |")
    assert "the difference" in text
    assert "; against YOLO, the difference" in text


@pytest.mark.slow
def test_the_consensus_is_scored_from_what_is_stored_of_both(out):
    store = Store(out / "predictions")
    stored = second_model(store)
    before = contents(out)
    assert evaluate("--rescore", "--out", out) == 0
    after = contents(out)
    files = {f"metrics_{name}.json" for name in ("consensus", "frcnn", "yolo")}
    assert after.keys() - before.keys() == files - {"metrics_yolo.json"}
    assert all(after[name] == before[name] for name in before.keys() - files)

    made = report.read(out / "metrics_consensus.json")
    rcnn, yolo = (report.read(out / f"metrics_{name}.json") for name in ("frcnn", "yolo"))
    dataset = read_ground_truth(store.ground_truth)
    both = [stored, read_results(store.predictions("yolo"))]
    (member,) = yolo["detector"]["members"]
    learnt = [None, calibration_of(Identity(member["sha256"], member["nms"], member["image_size"]))]
    assert learnt[1]  # of the bundled weights
    figures = score(dataset, consensus.results(dataset, both, learnt)).figures
    assert {key: made[key] for key in figures} == figures
    assert made["froc"] != yolo["froc"]
    assert (made["detector"]["id"], made["detector"]["name"]) == ("consensus", "Consensus")
    assert made["detector"]["members"] == rcnn["detector"]["members"] + yolo["detector"]["members"]
    used = report.identities(made)
    assert {each.image_size for each in used} == {512}
    assert report.applies_to(made, used[::-1], CONSENSUS.method)
    assert [each["detector"]["id"] for each in made["comparisons"]] == ["faster-rcnn", "yolo"]

    assert evaluate("--rescore", "--out", out) == 0
    assert contents(out) == after
    # Without one of the two there is nothing to make it of; what was measured stays as it is.
    store.predictions("faster-rcnn").unlink()
    assert evaluate("--rescore", "--out", out) == 0
    assert contents(out)["metrics_consensus.json"] == after["metrics_consensus.json"]


def test_predictions_of_other_data_keep_their_metrics(data, out, tmp_path, capsys):
    """A new data set in the same folder leaves alone what it has no predictions for."""
    store = Store(out / "predictions")
    run = store.run("yolo")
    store.write_run("faster-rcnn", [], {**run.key, "dataset": "other"}, run.detector, run.timing)
    assert evaluate("--rescore", "--out", out) == 0
    assert "faster-rcnn.json is about other data" in capsys.readouterr().err
    assert not (out / "metrics_frcnn.json").exists()


# Predictions that somebody brings


def test_anyones_predictions_get_the_same_figures(data, evaluated, tmp_path, capsys):
    file = tmp_path / "mine.json"
    shutil.copy(evaluated / "predictions/yolo.json", file)
    truth = evaluated / "predictions/ground_truth.json"
    ours = report.read(evaluated / "metrics_yolo.json")
    for arguments in (("--data", data), ("--ground-truth", truth)):
        assert evaluate("--predictions", file, *arguments, "--out", tmp_path / "out.json") == 0
        theirs = report.read(tmp_path / "out.json")
        assert {key: theirs[key] for key in FIGURES} == {key: ours[key] for key in FIGURES}
        assert theirs["detector"] == {"id": "mine", "name": "mine", "method": None, "members": []}
        assert theirs["timing"] is None
        assert "| mine |" in capsys.readouterr().out
    assert score(read_ground_truth(truth), read_results(file)).figures["froc"] == ours["froc"]


def test_in_a_folder_the_report_does_not_replace_a_models_own(out, capsys):
    before = contents(out)
    truth = out / "predictions/ground_truth.json"
    assert (
        evaluate("--predictions", out / "predictions/yolo.json", "--ground-truth", truth, "--out", out) == 0
    )
    after = contents(out)
    assert after.pop("yolo_metrics.json")
    assert after == before


# Publishing


@pytest.fixture
def push(hub, out, monkeypatch):
    """Publish `out` to the Hub on loopback; settings by name."""

    def push(**settings: str) -> int:
        base = {"BONEFX_HUB": "on", "HF_ENDPOINT": hub.url, "HF_METRICS_REPO_ID": REPO}
        for name, value in {**base, "HF_TOKEN": hub_server.WRITER, **settings}.items():
            monkeypatch.setenv(name, value)
        return evaluate("--rescore", "--out", out, "--push")

    return push


@pytest.mark.slow
def test_first_push_second_push_nothing_changed(hub, push, out, capsys):
    assert push() == 0
    repo = hub.repos["dataset", REPO]
    first = repo.head
    assert f"Published: {hub.url}/datasets/{REPO}/commit/{first}" in capsys.readouterr().out
    files = dict(repo.commits[first])
    card = files.pop("README.md").decode()
    del files[".gitattributes"]
    assert files == contents(out)  # the very bytes, in one commit
    assert len(repo.commits) == 2  # and the empty repository before it

    _, matter, text = card.split("---\n", 2)
    assert yaml.safe_load(matter)["pretty_name"] == "BoneFX metrics on made, valid"
    assert "| YOLO | `yolo26n_512.pt` |" in text
    assert "At 1 false alarm per image, YOLO" in text
    assert "40 images,\n14 of them without a fracture, 26 boxes" in text
    assert not {"{", "}"} & set(text)

    assert push() == 0
    assert "Nothing changed" in capsys.readouterr().out
    assert repo.head == first

    made = report.read(out / "metrics_yolo.json")
    report.write({**made, "notes": ["changed by hand"]}, out / "metrics_yolo.json")
    assert push() == 0
    assert "Published" in capsys.readouterr().out
    assert repo.head != first


@pytest.mark.slow
def test_other_data_have_their_own_folder_on_the_hub(hub, push, out, data, capsys):
    """Beside the data that the models know best, whose files stay as they are."""
    assert push() == 0
    repo = hub.repos["dataset", REPO]
    first = dict(repo.commits[repo.head])
    other = shutil.copytree(data, out.parent / "elsewhere")
    next((other / "valid/images").iterdir()).unlink()
    assert evaluate("--data", other, "--model", "yolo", "--out", out / "elsewhere", "--push") == 0
    files = dict(repo.commits[repo.head])
    assert {name: content for name, content in files.items() if not name.startswith("elsewhere/")} == first
    assert {"elsewhere/metrics_yolo.json", "elsewhere/predictions/yolo.json"} <= files.keys()
    away = report.loads(files["elsewhere/metrics_yolo.json"])
    home = report.read(out / "metrics_yolo.json")
    assert home["home"] is None
    assert away["home"]["dataset"] == home["dataset"]
    at_one = [report.operating_point(each, 1.0)["sensitivity"] for each in (away, home)]
    (told,) = (each for each in away["home"]["any_fracture"] if each["fp_per_image"] == 1.0)
    assert told["difference"] == pytest.approx(at_one[0] - at_one[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"HF_TOKEN": hub_server.READER}, f"does not allow to write to {REPO} (403)"),
        ({"HF_TOKEN": "hf_wrong"}, "does not accept the token (401)"),
        ({"HF_TOKEN": ""}, f"needs a token that may write to {REPO}: set HF_TOKEN"),
        ({"BONEFX_HUB": "off"}, "The Hub is switched off"),
        ({"HF_METRICS_REPO_ID": ""}, "set HF_METRICS_REPO_ID"),  # the default one is the authors' model
        ({"HF_METRICS_REPO_TYPE": "model"}, "leave HF_METRICS_REPO_TYPE unset"),
        ({"HF_METRICS_REPO_TYPE": "space"}, "must be one of dataset, model"),
    ],
)
def test_a_push_that_is_not_allowed_says_why(hub, push, capsys, settings, message):
    assert push(**settings) == 1
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert all(len(repo.commits) == 1 for repo in hub.repos.values())


@pytest.mark.slow
def test_a_push_on_a_broken_line_can_be_repeated(hub, push, capsys):
    hub.trouble(hub_server.drop, on=".*/commit/")
    assert push() == 1
    assert "broke off" in capsys.readouterr().err
    hub.recover()
    assert push() == 0
    assert "Published" in capsys.readouterr().out


# Arguments and failures


@pytest.mark.parametrize(
    "arguments",
    [
        (),  # nothing to score
        ("--data", "x", "--rescore"),
        ("--predictions", "x", "--rescore"),
        ("--predictions", "x", "--push"),  # somebody else's
        ("--predictions", "x", "--model", "yolo"),
        ("--rescore", "--model", "yolo"),  # no model runs
        ("--data", "x", "--ground-truth", "y"),
        ("--predictions", "x", "--data", "x", "--ground-truth", "y"),  # which of the two?
        ("--data", "x", "--model", "retinanet"),
        ("--data",),
    ],
)
def test_wrong_arguments_are_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        evaluate(*arguments)
    assert stopped.value.code == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "missing"), "data.yaml must list the class names"),
        (("--data", "{data}", "--split", "test"), "no split 'test'"),
        (("--rescore", "--out", "missing"), "ground_truth.json cannot be read"),
        (("--rescore", "--out", "empty"), "holds no predictions: evaluate with --data"),
        (("--predictions", "missing.json", "--ground-truth", "{truth}"), "missing.json cannot be read"),
        (("--predictions", "{truth}", "--ground-truth", "{truth}"), "must be a COCO results list"),
        (("--predictions", "bad.json", "--ground-truth", "{truth}"), "Entry 0 of the predictions"),
        (("--predictions", "bad.json", "--ground-truth", "bad.json"), "not ground truth that BoneFX wrote"),
        (("--data", "{data}", "--model", "yolo", "--out", "bad.json"), "cannot be used: "),  # a file
    ],
)
def test_failures_are_sentences(data, evaluated, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    truth = evaluated / "predictions/ground_truth.json"
    (tmp_path / "bad.json").write_text('[{"image_id": 99}]')
    (tmp_path / "empty/predictions").mkdir(parents=True)
    shutil.copy(truth, tmp_path / "empty/predictions")
    assert evaluate(*(part.format(data=data, truth=truth) for part in arguments)) == 1
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told


def test_other_data_never_replace_the_metrics_that_are_there(tmp_path, monkeypatch):
    """Without --out, the first data set's go to the folder of the metrics, another's to one in it."""
    monkeypatch.chdir(tmp_path)
    places = [command._folder(tmp_path / "first")]
    Store(Path(METRICS) / PREDICTIONS).write_ground_truth(replace(toy.dataset([[]]), name="first"))
    places += [
        command._folder(tmp_path / "first"),
        command._folder(tmp_path / "second"),
        command._folder(None),
    ]
    assert places == [Path(METRICS), Path(METRICS), Path(METRICS) / "second", Path(METRICS)]
