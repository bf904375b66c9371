"""A round of "Read it yourself" as a reader meets it: with mouse, fingers and keys, wide and narrow."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from tests.browser import record_errors, violations
from tests.ui.quiz.conftest import Wire

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}


def truly(reader) -> None:
    """Mark the middle of every fracture, by mouse."""
    for x1, y1, x2, y2 in reader.case.boxes:
        reader.page.mouse.click(*reader.place((x1 + x2) / 2, (y1 + y2) / 2))


def test_who_knows_the_truth_finds_everything(reader):
    one = reader()
    errors = record_errors(one.page)
    one.open()
    one.begin()
    seen, lesions = set(), 0
    for number in range(1, 11):
        expect(one.part("count")).to_have_text(f"{number} of 10")
        assert one.title == "Is anything broken?"
        case = one.case
        seen.add(case.id)
        lesions += len(case.boxes)
        expect(one.part("go")).to_have_text("Nothing here")
        truly(one)
        one.answer()
        assert one.title == "Now with marks"
        assert "demo weights" in one.part("weights").inner_text()
        one.answer()
        found = len(case.boxes)
        assert one.title == {
            0: "Right: nothing is broken here.",
            1: "You found the fracture.",
        }.get(found, f"You found {found} of {found} fractures.")
        one.answer()
    expect(one.part("end")).to_be_visible()
    assert len(seen) == 10
    words = one.part("sentences").inner_text()
    assert (
        f"In the end you found {lesions} of {lesions} fractures, with 0 false alarms on 10 images." in words
    )
    assert "The models' marks changed nothing that counts." in words
    assert one.part("rows").locator("tbody tr").count() == 2
    assert one.part("plot").locator(".plot > svg[role=img]").count() == 1
    assert one.part("total").inner_text().startswith("All your rounds: 1")
    assert errors == []


def test_a_wrong_mark_a_missed_fracture_and_what_is_looked_at_again(reader):
    one = reader()
    one.open()
    one.begin("never")
    missed = alarms = 0
    for _ in range(10):
        case = one.case
        one.page.mouse.click(*one.place(12, 12))  # a corner, where nothing is
        one.answer()
        assert one.part("mine").inner_text().endswith(("false alarm", "near miss"))
        missed += len(case.boxes)
        alarms += 1
        for x1, y1, x2, y2 in case.boxes:
            assert not (x1 <= 12 <= x2 and y1 <= 12 <= y2)
        one.answer()
    words = one.part("sentences").inner_text()
    assert f"You found 0 of {missed} fractures, with {alarms} false alarms on 10 images." in words
    assert one.part("rows").locator("tbody tr").all_inner_texts()[0].startswith("You, alone")
    again = one.part("again").locator("button")
    assert again.count() == 10
    again.first.click()
    assert one.title.startswith(("You missed", "You found 0"))
    expect(one.part("go")).to_have_text("Back to the results")
    one.part("go").click()
    expect(one.part("end")).to_be_visible()
    one.part("total").get_by_role("button", name="Forget all rounds").click()
    expect(one.part("total")).to_be_hidden()
    assert one.page.evaluate("localStorage.getItem('bonefx.quiz')") is None


def test_nothing_of_the_answer_is_sent_before_it_is_due(reader):
    """Neither a fracture's place or name, nor a model's mark: looked for in all that left the server."""
    one = reader()
    one.page.goto(f"{one.address}/")
    one.page.locator('.viewer[data-settled="true"][data-done="true"]').wait_for(timeout=60_000)
    one.page.locator("#strip").get_by_role("button", name="Read it yourself").click()
    one.part("quiz").wait_for()
    Wire.sent.clear()
    one.begin()
    for _ in range(3):
        case = one.case
        one.page.wait_for_timeout(1500)  # the models have run by now
        sent = b"".join(Wire.sent).decode("utf-8", "replace")
        Wire.sent.clear()
        step = _last_step(sent)
        assert (step["phase"], step["arm"], step["truth"]) == ("read", "alone", None)
        assert (step["shown"], step["said"], step["mine"], step["weights"]) == ([], [], [], "")
        assert case.id not in sent
        _check_absent(sent, case)
        one.answer()
        sent = b"".join(Wire.sent).decode("utf-8", "replace")
        Wire.sent.clear()
        step = _last_step(sent)
        assert (step["arm"], step["truth"], step["said"]) == ("with marks", None, [])
        assert [each["id"] for each in step["shown"]] == ["faster-rcnn", "yolo"]
        _check_absent(sent, case)
        one.answer()
        step = _last_step(b"".join(Wire.sent).decode("utf-8", "replace"))
        assert len(step["truth"]) == len(case.boxes)
        Wire.sent.clear()
        one.answer()


def _last_step(sent: str) -> dict:
    """The last value of the mode among the events that were sent."""
    steps = []
    for line in sent.splitlines():
        if line.startswith("data: ") and "process_completed" in line:
            for value in (json.loads(line[6:]).get("output") or {}).get("data") or []:
                if isinstance(value, dict) and value.get("now"):
                    steps.append(value["now"])
    return steps[-1]


def _check_absent(sent: str, case) -> None:
    for box in case.boxes:
        assert not all(re.search(rf"[:\[, ]{value:.1f}\b", sent) for value in box)
    assert '"found"' not in sent


def test_a_reader_draws_grades_and_removes(reader):
    one = reader()
    one.open()
    one.begin("never")
    mouse = one.page.mouse
    start, end = one.place(200, 200), one.place(320, 300)
    mouse.move(*start)
    mouse.down()
    mouse.move(*end, steps=4)
    mouse.up()
    rows = one.part("mine").locator("li")
    expect(rows).to_have_count(1)
    expect(one.part("go")).to_have_text("Done: 1 mark")
    mouse.click(*one.place(100, 500))
    expect(rows).to_have_count(2)
    rows.nth(0).get_by_role("button", name="Mark 1: perhaps").click()
    expect(rows.nth(0).locator('[aria-pressed="true"]')).to_have_text("perhaps")
    mouse.click(*one.place(100, 500))  # on the mark itself: it changes how sure
    expect(rows.nth(1).locator('[aria-pressed="true"]')).to_have_text("perhaps")
    rows.nth(0).get_by_role("button", name=re.compile("Remove mark 1")).click()
    expect(rows).to_have_count(1)
    one.part("stage").get_by_role("button", name="Move").click()
    mouse.move(*start)
    mouse.down()
    mouse.move(*end, steps=4)
    mouse.up()
    expect(rows).to_have_count(1)


def test_a_round_by_keys_alone(reader):
    one = reader()
    one.open()
    one.part("heading").focus()
    keyboard = one.page.keyboard
    while one.page.evaluate("document.activeElement.dataset.part") != "start":
        keyboard.press("Tab")
    keyboard.press("Enter")
    one.ready()
    for number in range(1, 11):
        expect(one.part("count")).to_have_text(f"{number} of 10")
        one.page.locator("#quiz .view").focus()
        case = one.case
        if len(case.boxes) == 0:
            keyboard.press("n")
        else:
            x, y = case.width / 2, case.height / 2
            side = max(case.width, case.height)
            goal = (case.boxes[0][:2] + case.boxes[0][2:]) / 2
            for axis, at in (("x", x), ("y", y)):
                left = float(goal[int(axis == "y")] - at)
                keys = ("ArrowLeft", "ArrowRight") if axis == "x" else ("ArrowUp", "ArrowDown")
                for _ in range(round(abs(left) / (0.02 * side))):
                    keyboard.press(keys[left > 0])
            keyboard.press("Enter")
            expect(one.part("mine").locator("li")).to_have_count(1)
            keyboard.press("Control+Enter")
        expect(one.part("title")).to_have_text("Now with marks")
        keyboard.press("Control+Enter")
        expect(one.part("title")).not_to_have_text("Now with marks")
        if len(case.boxes) == 1:
            assert one.title == "You found the fracture."
        keyboard.press("Enter")
    expect(one.part("end")).to_be_visible()
    status = one.part("status").inner_text()
    assert "false alarms on 10 images" in status


def test_a_round_with_a_finger_on_a_phone(reader):
    one = reader(**PHONE)
    one.open()
    one.begin("at once")
    for _ in range(10):
        assert one.title == "Is anything broken?"
        view = one.page.locator("#quiz .view").bounding_box()
        assert view["height"] > 300
        case = one.case
        for x1, y1, x2, y2 in case.boxes:
            one.page.touchscreen.tap(*one.place((x1 + x2) / 2, (y1 + y2) / 2))
        expect(one.part("mine").locator("li")).to_have_count(len(case.boxes))
        one.answer()
        assert not one.title.startswith("You missed")
        one.answer()
    expect(one.part("end")).to_be_visible()
    assert one.page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_axe_finds_nothing_on_any_of_its_pages(reader, scheme, size):
    one = reader(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    one.open()
    assert violations(one.page, "#quiz") == []
    one.begin()
    one.page.mouse.click(*one.place(100, 100))
    assert violations(one.page, "#quiz") == []
    one.answer()
    assert violations(one.page, "#quiz") == []
    one.answer()
    assert violations(one.page, "#quiz") == []
    while one.part("reading").is_visible():
        one.answer()
    assert violations(one.page, "#quiz") == []


def test_the_mode_has_a_link_and_a_way_back(reader):
    one = reader()
    one.page.goto(f"{one.address}/")
    one.page.locator("#strip").get_by_role("button", name="Read it yourself").click()
    expect(one.part("front")).to_be_visible()
    assert "?quiz=1" in one.page.url
    expect(one.page.locator("#reader")).to_be_hidden()
    one.page.go_back()
    expect(one.page.locator("#reader")).to_be_visible()
    expect(one.page.locator("#quiz")).to_be_hidden()
    one.page.go_forward()
    expect(one.part("front")).to_be_visible()
    one.part("front").get_by_role("button", name="Back to the examples").click()
    expect(one.page.locator("#reader .view").first).to_be_visible()
    assert "quiz" not in one.page.url


def test_what_cannot_be_fetched_is_said_and_fetched_again(reader):
    one = reader()
    one.page.route("**/quiz-*.json", lambda route: route.abort())
    one.page.goto(f"{one.address}/?quiz=1")
    expect(one.page.locator("#quiz")).to_contain_text("This cannot be opened now")
    one.page.unroute("**/quiz-*.json")
    one.page.go_back()
    one.page.goto(f"{one.address}/?quiz=1")
    expect(one.part("front")).to_be_visible()
    expect(one.page.locator("#quiz")).not_to_contain_text("cannot be opened")


def test_a_round_goes_on_after_a_look_at_the_examples(reader):
    one = reader()
    one.open()
    one.begin()
    one.answer()
    one.part("reading").get_by_role("button", name="Leave").click()
    expect(one.page.locator("#reader")).to_be_visible()
    one.page.locator("#strip").get_by_role("button", name="Read it yourself").click()
    expect(one.part("title")).to_have_text("Now with marks")
    expect(one.part("count")).to_have_text("1 of 10")


def test_a_server_that_is_silent_is_said_to_be_and_asked_again(reader):
    one = reader()
    one.open()
    one.begin("never")
    one.page.mouse.click(*one.place(100, 100))
    one.page.route("**/queue/join*", lambda route: None, times=1)  # never answered
    one.part("go").click()
    expect(one.part("late")).to_be_visible(timeout=40_000)
    expect(one.part("mine").locator("li")).to_have_count(1)
    one.answer()
    expect(one.part("said-card")).to_be_visible()
    expect(one.part("late")).to_be_hidden()


def test_an_answer_that_comes_twice_counts_once(reader):
    one = reader()
    one.open()
    one.begin("never")
    one.part("go").dblclick()
    expect(one.part("said-card")).to_be_visible()
    expect(one.part("count")).to_have_text("1 of 10")


def test_the_endpoints_do_not_offer_it(running_app):
    names = running_app.get_api_info()["named_endpoints"]
    assert not [name for name in names if "quiz" in name or name in ("/begin", "/answer", "/ahead")]
