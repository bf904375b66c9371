"""`python -m bonefx quiz`: one's own folder, a study with two readers, a killed server, and the report."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from bonefx.quiz.cases import labelled, pack
from tests.browser import free_port

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three of the phantoms as a folder in YOLO format: two with a fracture, one without."""
    root = tmp_path_factory.mktemp("own")
    images, labels = root / "valid" / "images", root / "valid" / "labels"
    images.mkdir(parents=True)
    labels.mkdir()
    (root / "data.yaml").write_text("val: valid/images\nnc: 1\nnames: [fracture]\n", "utf-8")
    broken = [case for case in pack() if len(case.boxes) == 1][:2]
    intact = next(case for case in pack() if not len(case.boxes))
    for case in (*broken, intact):
        (images / case.path.name).write_bytes(case.path.read_bytes())
        rows = [
            f"0 {(x1 + x2) / 2 / case.width} {(y1 + y2) / 2 / case.height} {(x2 - x1) / case.width} "
            f"{(y2 - y1) / case.height}\n"
            for x1, y1, x2, y2 in case.boxes
        ]
        (labels / f"{case.path.stem}.txt").write_text("".join(rows))
    return root


@contextmanager
def served(*arguments: object) -> Iterator[tuple[subprocess.Popen, list[str]]]:
    """The command, running; the process and the addresses that it prints."""
    port = free_port()
    command = [sys.executable, "-m", "bonefx", "quiz", "--port", str(port), *map(str, arguments)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "BONEFX_HUB": "off"}
    )
    try:
        links: list[str] = []
        assert process.stdout is not None
        for line in process.stdout:
            links += re.findall(r"http://\S+quiz=\S+", line)
            if line.startswith(("Read it yourself", "Answers go to")):
                break
        yield process, links
    finally:
        process.terminate()
        process.wait(20)


def query(link: str) -> str:
    return link.partition("/?")[2]


def test_ones_own_folder_is_read_by_its_labels(reader, folder, cases):
    with served("--data", folder) as (_, links):
        assert len(links) == 1
        assert links[0].startswith("http://127.0.0.1:")
        one = reader(links[0].partition("/?")[0])
        one.open("?quiz=1")
        assert "your own folder" in one.part("intro").inner_text()
        one.begin("never")
        for _ in range(3):
            one.answer()
            assert one.title in ("Right: nothing is broken here.", "You missed the fracture.")
            one.answer()
        expect(one.part("sentences")).to_contain_text("You found 0 of 2 fractures")


def test_two_readers_at_once_a_server_that_is_killed_and_the_report(reader, folder, tmp_path):
    out = tmp_path / "answers.jsonl"
    study = ("--data", folder, "--readers", 2, "--out", out)
    with served(*study) as (process, links):
        assert len(links) == 2
        address = links[0].partition("/?")[0]
        first, second = reader(address), reader(address)
        for one, link in ((first, links[0]), (second, links[1])):
            one.open(f"?{query(link)}")
            one.ready()
        first.page.mouse.click(*first.place(40, 40))
        first.answer()
        second.answer()
        assert (first.title, second.title) == ("Now with marks", "Now with marks")
        expect(first.part("mine").locator("li")).to_have_count(1)
        second.answer()
        assert second.title == "Is anything broken?"  # no truth in a study
        stranger = reader(address)
        stranger.open("?quiz=1-0000000000000000")
        expect(stranger.part("wait-title")).to_contain_text("personal links")
        process.kill()
    assert len(out.read_text().splitlines()) == 4  # the study and three answers
    with out.open("a") as file:
        file.write('{"reader": 1, "case": "ca')  # as a kill in the middle of a line leaves it

    with served(*study) as (_, again):
        assert list(map(query, again)) == list(map(query, links))
        address = again[0].partition("/?")[0]
        for link, left in zip(again, (5, 4), strict=True):
            one = reader(address)
            one.open(f"?{query(link)}")
            one.ready()
            for _ in range(left):
                if one.part("reading").is_visible() and one.title == "Is anything broken?":
                    one.page.mouse.click(*one.place(40, 40))
                one.answer()
            expect(one.part("wait-title")).to_have_text("That was all. Your answers are kept. Thank you.")
    lines = [json.loads(line) for line in out.read_text().splitlines() if line.endswith("}")]
    plan, answers = lines[0], lines[1:]
    assert len(answers) == 12
    assert {(each["reader"], each["case"], each["arm"]) for each in answers} == {
        (number, case["id"], arm)
        for number in (1, 2)
        for case in plan["cases"]
        for arm in ("alone", "with marks")
    }
    for each in answers:
        assert set(each["shown"]) == ({"faster-rcnn", "yolo"} if each["arm"] == "with marks" else set())
        assert all(len(sha256) == 64 for sha256 in each["shown"].values())
        assert 0 < each["seconds"] < 600

    report = subprocess.run(
        [sys.executable, "-m", "bonefx", "quiz", "--report", out], capture_output=True, text=True, check=True
    ).stdout
    assert "Reader study of 3 cases" in report
    assert "2 of 2 readers with all answers, 12 answers in all" in report
    assert "JAFROC figure of merit" in report
    assert "may be chance" in report
    assert "not a medical device" in report


def test_a_second_reading_waits_for_its_day(reader, folder, tmp_path):
    out = tmp_path / "answers.jsonl"
    with served("--data", folder, "--readers", 1, "--out", out, "--washout", 14, "--model", "yolo") as (
        _,
        links,
    ):
        one = reader(links[0].partition("/?")[0])
        one.open(f"?{query(links[0])}")
        one.ready()
        for _ in range(3):
            assert one.title == "Is anything broken?"
            one.answer()
        expect(one.part("wait-title")).to_contain_text("come back then")
    opened = out.read_text().replace(f'"time":"{time.strftime("%Y-")}', '"time":"2020-')
    out.write_text(opened)
    with served("--data", folder, "--readers", 1, "--out", out, "--washout", 14, "--model", "yolo") as (
        _,
        links,
    ):
        one = reader(links[0].partition("/?")[0])
        one.open(f"?{query(links[0])}")
        one.ready()
        assert one.title == "Is anything broken?"
        assert "With marks of YOLO" in one.part("sentence").inner_text()
        expect(one.part("mine").locator("li")).to_have_count(0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--readers", "2"), "needs both --readers and --out"),
        (("--out", "x.jsonl"), "needs both --readers and --out"),
        (("--washout", "3"), "belongs to a study"),
        (("--readers", "0", "--out", "x.jsonl"), "1 to 500 readers"),
        (("--readers", "2", "--out", "x.jsonl", "--washout", "nan"), "0 to 365 days"),
        (("--data", "nowhere"), "nowhere"),
        (("--report", "nowhere.jsonl"), "nowhere.jsonl cannot be used"),
        (("--report", os.devnull), "no file of answers"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(tmp_path, arguments, words):
    made = subprocess.run(
        [sys.executable, "-m", "bonefx", "quiz", *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert made.returncode == 1
    assert words in made.stderr
    assert "Traceback" not in made.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_study_is_not_written_to(folder, tmp_path):
    out = tmp_path / "answers.jsonl"
    with served("--data", folder, "--readers", 1, "--out", out):
        pass
    before = out.read_bytes()
    made = subprocess.run(
        [sys.executable, "-m", "bonefx", "quiz", "--readers", "1", "--out", out],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 1
    assert "holds a study with other readers" in made.stderr
    assert out.read_bytes() == before
    assert len(labelled(folder, "valid")) == 3
