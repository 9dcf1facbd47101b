"""Whose turn it is to write to a SQLite file.

SQLite lets a writer that waits for another one look again after up to 100 ms, while the other one begins its next
transaction at once: of two busy processes one starves. Two locks make a queue of it:

    take `next` --> take `writing`, give `next` back --> transaction --> give `writing` back

Whoever has just written has to take `next` again, and whoever waits for `writing` holds it: so they alternate.
"""

import fcntl
import os
from pathlib import Path
from threading import Event
from types import TracebackType

from daemon.store.files import open_file

_FIRST_LOOK_S = 0.000_05
_LAST_LOOK_S = 0.001


class Turn:
    """A context in which it is this process's turn to write.

    It is a courtesy: after `patience_s` it goes on regardless, since a process that is stopped in its turn must not
    stop the others without a word. What keeps transactions apart is SQLite itself.
    """

    def __init__(self, folder: Path, *, patience_s: float) -> None:
        self._next = open_file(folder / "next")
        self._writing = open_file(folder / "writing")
        self._patience_s = patience_s
        self._never = Event()

    def __enter__(self) -> None:
        if self._take(self._next):
            self._take(self._writing)
            fcntl.flock(self._next, fcntl.LOCK_UN)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        fcntl.flock(self._writing, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the locks' files."""
        os.close(self._next)
        os.close(self._writing)

    def _take(self, lock: int) -> bool:
        look_s, waited_s = _FIRST_LOOK_S, 0.0
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waited_s >= self._patience_s:
                    return False
                self._never.wait(look_s)
                waited_s += look_s
                look_s = min(2 * look_s, _LAST_LOOK_S)
            else:
                return True
