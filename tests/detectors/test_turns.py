"""One run at a time, first come, first served, and a batch's images after all others."""

from __future__ import annotations

import threading
import time

import pytest

from bonefx.detectors.turns import Turns


def wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("coming", "order"),  # names in capitals are patient
    [
        ("abc", "abc"),
        ("ABC", "ABC"),
        ("AaBb", "abAB"),  # whoever is not patient goes first, though it came later
    ],
)
def test_order(coming, order):
    turns, done, threads = Turns(), [], []

    def run(name: str) -> None:
        with turns.turn(patient=name.isupper()):
            done.append(name)

    with turns.turn():
        for number, name in enumerate(coming, 1):
            threads.append(threading.Thread(target=run, args=(name,)))
            threads[-1].start()
            wait_until(lambda number=number: sum(map(len, turns._waiting)) == number)
        assert done == []
    for thread in threads:
        thread.join(10)
    assert "".join(done) == order


@pytest.mark.slow
def test_between_two_images_of_a_batch_others_have_their_turn():
    turns, done = Turns(), []
    begun = threading.Event()

    def batch() -> None:
        for image in range(50):
            with turns.turn(patient=True):
                done.append(image)
                begun.set()
                time.sleep(0.01)

    thread = threading.Thread(target=batch)
    thread.start()
    begun.wait(10)
    with turns.turn():
        done.append("single")
    thread.join(10)
    assert done.index("single") < 5
    assert [each for each in done if each != "single"] == list(range(50))


def test_a_failure_gives_the_turn_back():
    turns = Turns()
    with pytest.raises(KeyError), turns.turn():
        raise KeyError
    with turns.turn(patient=True):
        pass


def test_never_two_at_once():
    turns, inside, most = Turns(), [], []

    def run(patient: bool) -> None:
        for _ in range(20):
            with turns.turn(patient):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()

    threads = [threading.Thread(target=run, args=(i % 2 == 0,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (len(most), max(most)) == (120, 1)
