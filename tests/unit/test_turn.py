"""Whose turn it is to write."""

import fcntl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.store.turn import Turn


@pytest.fixture
def turns(tmp_path: Path) -> Iterator[tuple[Turn, Turn]]:
    one, other = Turn(tmp_path, patience_s=5), Turn(tmp_path, patience_s=5)
    yield one, other
    one.close()
    other.close()


def test_whoever_waits_comes_before_whoever_has_just_written(turns: tuple[Turn, Turn], tmp_path: Path) -> None:
    one, other = turns
    order: list[str] = []

    def write_once() -> None:
        with other:
            order.append("other")

    waiting = threading.Thread(target=write_once)
    with one:
        waiting.start()
        _wait_until_locked(tmp_path / "next")
    with one:
        order.append("one")
    waiting.join()

    assert order == ["other", "one"]


def test_a_process_that_stops_in_its_turn_does_not_stop_the_others(tmp_path: Path) -> None:
    stopped, other = Turn(tmp_path, patience_s=5), Turn(tmp_path, patience_s=0.01)
    went_on = False

    with stopped, other:
        went_on = True

    assert went_on
    stopped.close()
    other.close()


def _wait_until_locked(path: Path) -> None:
    with path.open() as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            fcntl.flock(lock, fcntl.LOCK_UN)
