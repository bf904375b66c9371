"""Many visitors: those that are one too many are dropped, their files deleted, and they are told."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from bonefx.ui import visitors
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


def test_a_visitor_is_dropped_after_those_who_left_nothing_and_is_told(
    few, app_address, pictures, wait_until
):
    before = set(storage().root.iterdir())
    known = set(holding(few))
    with open_browser() as browser:
        page = browser.new_page()
        page.goto(app_address)
        page.locator("#upload input[type=file]").wait_for(state="attached", timeout=60_000)
        page.set_input_files("#upload input[type=file]", pictures[0])
        wait_until(lambda: set(holding(few)) - known)
        (visitor,) = set(holding(few)) - known
        wait_until(lambda: len(set(storage().root.iterdir()) - before) >= 2)  # the upload, and its folder
        queue = few.blocks._queue
        wait_until(lambda: any(queue.active_jobs))
        wait_until(lambda: not len(queue) and not any(queue.active_jobs))
        for _ in range(8):
            call_models(app_address)
            assert len(few.session_data) <= few.capacity
        assert visitor in few.session_data

        component = next(each for each, _, _ in few.session_data[visitor].state_components)
        for number in range(few.capacity):
            few[f"other-{number}"][component._id] = component.value
        assert visitor not in few.session_data
        assert not {entry for entry in set(storage().root.iterdir()) - before if any(entry.rglob("*.png"))}
        page.set_input_files("#upload input[type=file]", pictures[1])
        expect(page.get_by_text("has forgotten your image").first).to_be_visible(timeout=60_000)
    for number in range(few.capacity):
        few.session_data.pop(f"other-{number}", None)


def test_a_session_that_holds_nothing_ends_with_its_visitor(running_app, few):
    few["gone"].is_closed = True
    assert "gone" in few.session_data
    few.delete_all_expired_state()
    assert "gone" not in few.session_data
    assert not few.forgotten("gone")
