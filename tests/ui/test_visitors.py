"""Many visitors: those that are one too many are dropped, their files deleted, and they are told."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from playwright.sync_api import expect

from bonefx.ui import visitors
from bonefx.ui.session import Visit
from bonefx.ui.storage import storage
from tests.browser import open_browser
from tests.ui.test_guards import ask


@pytest.fixture
def few(running_app, monkeypatch):
    """The sessions of the app, which has room for four."""
    holder = running_app.app.state_holder
    assert isinstance(holder, visitors.Visitors)
    assert holder.capacity == visitors.MAX_SESSIONS
    monkeypatch.setattr(holder, "capacity", 4)
    return holder


def call_models(address: str) -> None:
    """A call over plain HTTP, which is a session of its own to Gradio."""
    _, said = ask(address, "/gradio_api/call/models", "POST", {"data": []})
    _, said = ask(address, f"/gradio_api/call/models/{json.loads(said)['event_id']}")
    assert "event: complete" in said


def holding(holder) -> list[str]:
    """The sessions for which an event has stored something."""
    return [key for key, session in holder.session_data.items() if any(session.state_components)]


def opened(holder, session: str) -> Path:
    """The image of a session; the page opens an example by itself."""
    stored = holder.session_data[session].state_components
    visit = next((value for _, value, _ in stored if isinstance(value, Visit)), Visit())
    return visit.session.path or Path()


def test_a_visitor_is_dropped_after_those_who_left_nothing_and_is_told(
    few, app_address, pictures, wait_until
):
    before = set(storage().root.iterdir())
    known = set(holding(few))

    def uploaded() -> list[Path]:
        return [entry for entry in set(storage().root.iterdir()) - before if any(entry.rglob("picture-*"))]

    with open_browser() as browser:
        page = browser.new_page()
        page.goto(app_address)
        page.locator("#upload input[type=file]").wait_for(state="attached", timeout=60_000)
        page.set_input_files("#upload input[type=file]", pictures[0])
        wait_until(uploaded)
        wait_until(lambda: set(holding(few)) - known)
        (visitor,) = set(holding(few)) - known
        wait_until(lambda: opened(few, visitor).name.startswith("picture-"))
        for _ in range(6):
            call_models(app_address)
            assert len(few.session_data) <= few.capacity
        assert visitor in few.session_data

        component = next(each for each, _, _ in few.session_data[visitor].state_components)
        for number in range(100):  # the page may be at it yet
            few[f"other-{number}"][component._id] = component.value
            if visitor not in few.session_data:
                break
        assert number >= few.capacity - 1
        assert visitor not in few.session_data
        wait_until(lambda: not uploaded())
        page.set_input_files("#upload input[type=file]", pictures[1])
        expect(page.get_by_text("has forgotten your image").first).to_be_visible(timeout=60_000)
    for other in [key for key in few.session_data if key.startswith("other-")]:
        few.session_data.pop(other)


def test_a_session_is_there_while_others_come_and_go_in_other_threads(few):
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            assert few["passing"] is not None
            few.delete_all_expired_state()

    threads = [threading.Thread(target=come_and_go) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(60):
            assert few[f"brief-{number}"] is not None
            assert len(few.session_data) <= few.capacity + len(threads)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_session_that_holds_nothing_ends_with_its_visitor(running_app, few):
    few["gone"].is_closed = True
    assert "gone" in few.session_data
    few.delete_all_expired_state()
    assert "gone" not in few.session_data
    assert not few.forgotten("gone")
