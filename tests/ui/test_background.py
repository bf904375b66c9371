"""Work in a thread: its news in order, its errors in words, and its end when nobody listens."""

from __future__ import annotations

import threading

import gradio as gr
import pytest

from bonefx.errors import BoneFXError, ImageError
from bonefx.ui.background import in_background


def test_news_come_in_order():
    def work(tell) -> None:
        for number in range(3):
            tell(number)

    assert [news for news in in_background(work) if news is not None] == [0, 1, 2]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImageError("It is no image."), "It is no image."),
        (ValueError("/secret/path"), "Something unexpected went wrong; the server's log has the details."),
        # ZeroGPU's own messages
        (
            gr.Error(
                "You have exceeded your free ZeroGPU quota (15s vs. 3s).", title="ZeroGPU quota exceeded"
            ),
            "ZeroGPU quota exceeded: You have exceeded your free ZeroGPU quota (15s vs. 3s).",
        ),
        (
            gr.Error("No GPU. <a href='https://x'>Sign-up</a> &amp; go on", title="ZeroGPU queue timeout"),
            "ZeroGPU queue timeout: No GPU. Sign-up & go on",
        ),
        (gr.Error("Plain."), "Plain."),
    ],
)
def test_errors_are_words_for_a_person(error, words):
    def work(tell) -> None:
        raise error

    with pytest.raises(BoneFXError) as caught:
        list(in_background(work))
    assert str(caught.value) == words


def test_work_ends_at_its_next_news_when_nobody_listens():
    ended = threading.Event()

    def work(tell) -> None:
        try:
            while True:
                tell("on")
        finally:
            ended.set()

    listening = in_background(work)
    next(listening)
    listening.close()
    assert ended.wait(10)
