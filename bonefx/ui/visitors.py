"""How many visitors are remembered, and what becomes of those that are one too many.

Gradio (6.31) keeps each session's settings of all components, some 170 kB, for as long as it runs, up to a
number; then it drops the one that was silent longest, without a word to anybody: not to the visitor, nor to
whoever would delete the files.
"""

from __future__ import annotations

import datetime
from collections import OrderedDict
from typing import Any

from gradio.state_holder import SessionState, StateHolder

from bonefx.ui.storage import KEPT_MINUTES

MAX_SESSIONS = 500

FORGOTTEN = (
    "So many people came that the server has forgotten your image and its results. Bring the image again."
)


class Visitors(StateHolder):
    """The sessions of an app, at most `capacity`; those that hold nothing go first."""

    def __init__(self, blocks: Any, capacity: int = MAX_SESSIONS) -> None:
        super().__init__()
        self.set_blocks(blocks)
        self.capacity = capacity
        self._untold: OrderedDict[str, None] = OrderedDict()

    def __getitem__(self, session_id: str) -> SessionState:
        """A session, new where there is none: the very one, even if it is dropped at this moment."""
        session = self.session_data.get(session_id)
        if session is None:
            session = SessionState(self.blocks)
        self.time_last_used[session_id] = datetime.datetime.now()
        self.session_data[session_id] = session
        self.update(session_id)
        return session

    def update(self, session_id: str) -> None:
        """Note that a session is in use; called by Gradio whenever it is."""
        with self.lock:
            if session_id in self.session_data:
                self.session_data.move_to_end(session_id)
            surplus = []
            while len(self.session_data) > self.capacity:
                surplus.append(self._drop(self._least_missed()))
        for session in surplus:
            _delete_values(session)

    def delete_all_expired_state(self) -> None:
        """Delete what has had its time, and the sessions that hold nothing any more; called every second."""
        super().delete_all_expired_state()
        now = datetime.datetime.now()
        long_ago = now - datetime.timedelta(minutes=KEPT_MINUTES)
        with self.lock:
            for session_id, session in list(self.session_data.items()):
                silent = session.is_closed or self.time_last_used.get(session_id, now) <= long_ago
                if silent and not _holds(session):
                    self._drop(session_id)

    def forgotten(self, session_id: str | None) -> bool:
        """Whether a session's values were dropped and its visitor is not told yet. True once."""
        return session_id is not None and self._untold.pop(session_id, self) is None

    def _least_missed(self) -> str:
        """The session that was silent longest, of those that hold nothing if there are any."""
        last = next(reversed(self.session_data))  # which is just being used
        empty = (key for key, each in self.session_data.items() if key != last and not _holds(each))
        return next(empty, None) or next(iter(self.session_data))

    def _drop(self, session_id: str) -> SessionState:
        session = self.session_data.pop(session_id)
        self.time_last_used.pop(session_id, None)
        if _holds(session):
            self._untold[session_id] = None
            while len(self._untold) > 20 * self.capacity:
                self._untold.popitem(last=False)
        return session


def _holds(session: SessionState) -> bool:
    """Whether any event has stored something for this session."""
    return any(True for _ in session.state_components)


def _delete_values(session: SessionState) -> None:
    for component, value, _ in session.state_components:
        component.delete_callback(value)
