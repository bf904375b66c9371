"""What happens in the mode "Read it yourself": the events, and what is remembered of a reader."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import gradio as gr
import numpy as np

from bonefx import images
from bonefx.detectors import MODELS, Registry
from bonefx.errors import BoneFXError, RequestError
from bonefx.quiz.cases import Case, pack
from bonefx.quiz.rounds import CASES, Round, Setting, draw
from bonefx.quiz.study import Study, Waiting
from bonefx.ui.metrics.store import MetricsStore
from bonefx.ui.quiz import screen
from bonefx.ui.quiz.model_marks import ModelMarks, Models
from bonefx.ui.quiz.results import results
from bonefx.ui.storage import storage
from bonefx.ui.viewer.component import viewer_image

MAX_PLAYED = 20_000
"""Ids of cases that a browser may send: more than anybody's folder has is no list of cases."""


class Seat:
    """One reader's place: the round that is going on. It is one object for the whole visit.

    Attributes:
        round: None before the first one.
        models: by case id, what the models found on the cases so far.
        lock: of one event after the other.
    """

    def __init__(self) -> None:
        self.round: Round | None = None
        self.models: dict[str, Mapping[str, ModelMarks]] = {}
        self.lock = threading.Lock()

    def __deepcopy__(self, memo: object) -> Seat:
        return Seat()  # how Gradio makes a visitor's own


class Desk:
    """Hands out cases and takes answers.

    Args:
        registry, store: the models, and their metrics.
        cases: to read; None: those that travel with the code.
        study: where there is one, its answers are kept, and only its readers are served.

    Attributes:
        is_study: whether there is one.
        own_folder: whether the cases are somebody's own.
        round_size: how many cases a round has.
    """

    def __init__(
        self,
        registry: Registry,
        store: MetricsStore,
        cases: Sequence[Case] | None = None,
        study: Study | None = None,
    ) -> None:
        self.is_study = study is not None
        self.own_folder = cases is not None
        self._models = Models(registry, store)
        self._cases = pack() if cases is None else tuple(cases)
        self._study = study
        self.round_size = min(CASES, len(self._cases))
        self._folder = storage().new_entry(lasting=True)
        gr.set_static_paths([self._folder])
        self._images: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def begin(self, seat: Seat, event: gr.EventData) -> dict[str, Any]:
        """A new round, or where a study's reader has stopped."""
        sent = event._data if isinstance(event._data, dict) else {}
        with seat.lock:
            try:
                made = self._new_round(sent)
            except RequestError as error:
                return {"phase": "wait", "sentence": str(error)}
            return self._seated(seat, made)

    def ahead(self, seat: Seat, event: gr.EventData) -> None:
        """Run the models on the case that is being looked at, so that their marks are there in time."""
        with seat.lock:
            step = None if seat.round is None else seat.round.step
        if step is not None:
            self._models.on(step.case)

    def answer(self, seat: Seat, event: gr.EventData) -> dict[str, Any]:
        """Take an answer, or go on from the truth, and show what comes next."""
        sent = event._data if isinstance(event._data, dict) else {}
        with seat.lock:
            round_ = seat.round
            if round_ is None:
                words = "This round is no longer known here. Begin another one."
                return {"phase": "wait", "sentence": words}
            step = round_.step
            if step is None or sent.get("step") != round_.position or sent.get("round") != round_.id:
                return self._show(seat)  # it came twice
            if step.arm is None:
                round_.go_on()
                return self._show(seat)
            try:
                self._take(seat, round_, sent)
            except BoneFXError as error:
                return {**self._show(seat), "problem": str(error)}
            return self._show(seat)

    def _take(self, seat: Seat, round_: Round, sent: Mapping[str, Any]) -> None:
        shown = {}
        if round_.step is not None and round_.step.arm == "with marks":
            found = self._found(seat, round_.step.case)
            shown = {model: found[model].sha256 for model in round_.models}
        answer = round_.answer(sent.get("marks"), shown)
        if self._study is not None:
            try:
                self._study.keep(answer)
            except OSError as error:
                words = f"The answer could not be kept ({error.strerror}). Tell whoever runs the study."
                raise RequestError(words) from error
        round_.take(answer)

    def _new_round(self, sent: Mapping[str, Any]) -> Round | Waiting:
        if self._study is not None:
            return self._study.round_of(self._study.reader_of(str(sent.get("link", ""))))
        setting, models, played = sent.get("setting"), sent.get("models"), sent.get("played")
        if setting is None or setting not in get_args(Setting) or not isinstance(models, list):
            raise RequestError("These are no settings of a round. Reload the page.")
        if not models or not set(map(str, models)) <= MODELS.keys():
            raise RequestError(f"Marks come from one or several of {', '.join(MODELS)}.")
        if not isinstance(played, list) or len(played) > MAX_PLAYED:
            played = []
        chosen = [model for model in MODELS if model in models]
        seed = int(np.random.SeedSequence().generate_state(1)[0])
        return draw(self._cases, setting, chosen, [each for each in played if isinstance(each, str)], seed)

    def _seated(self, seat: Seat, made: Round | Waiting) -> dict[str, Any]:
        if isinstance(made, Waiting):
            day = made.until.strftime("%Y-%m-%d, %H:%M UTC")
            words = f"You have read all cases once. The second reading opens on {day}: come back then."
            return {"phase": "wait", "sentence": words}
        seat.round, seat.models = made, {}
        return self._show(seat)

    def _show(self, seat: Seat) -> dict[str, Any]:
        round_ = seat.round
        assert round_ is not None
        step = round_.step
        if step is None:
            return self._end(seat, round_)
        image = self._image(step.case)
        if step.arm is None:
            return screen.revealed(round_, step.case, "truth", image, self._found(seat, step.case))
        due = step.arm == "with marks"
        return screen.reading(round_, image, self._found(seat, step.case) if due else None)

    def _end(self, seat: Seat, round_: Round) -> dict[str, Any]:
        if self._study is not None:
            left = self._study.round_of(round_.reader)
            if isinstance(left, Waiting) or left.step is not None:  # a second sitting
                return self._seated(seat, left)
            return {"phase": "wait", "sentence": "That was all. Your answers are kept. Thank you."}
        found = {case.id: self._found(seat, case) for case in round_.cases}
        pictures = {case.id: self._image(case) for case in round_.cases}
        return {
            "phase": "end",
            "round": round_.id,
            "step": round_.position,
            "end": results(round_, found, pictures),
        }

    def _found(self, seat: Seat, case: Case) -> Mapping[str, ModelMarks]:
        """What the models found, once for the whole round: weights may change meanwhile."""
        if case.id not in seat.models:
            seat.models[case.id] = self._models.on(case)
        return seat.models[case.id]

    def _image(self, case: Case) -> dict[str, Any]:
        """The viewer's record of a case, under a name that says nothing."""
        with self._lock:
            if case.id not in self._images:
                self._images[case.id] = viewer_image(images.read(case.path), self._folder, "")
            return self._images[case.id]
