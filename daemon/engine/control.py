"""How the parts of the engine tell each other that a run goes on no further for the present."""

from collections.abc import Iterable, Sequence
from enum import StrEnum


class Failed(Exception):  # noqa: N818 - control flow inside the engine
    """A node has finally failed; what and why is in the execution already."""


class Fenced(Exception):  # noqa: N818 - control flow inside the engine
    """Another process owns the run now: drop it, and undo nothing."""


class Forestalled(Fenced):
    """Another process had started the run, before this one wrote anything of it."""


class Parked(Exception):  # noqa: N818 - control flow inside the engine
    """The run waits for longer than a task should: let go of it.

    Attributes:
        wake_us: When it is due; None if only the outside can wake it.
        waiting_for: What for, in words.
    """

    def __init__(self, wake_us: int | None, waiting_for: str) -> None:
        self.wake_us = wake_us
        self.waiting_for = waiting_for
        super().__init__(waiting_for)

    def within(self, deadline_us: int | None) -> "Parked":
        """Return the same, due at the deadline if that is earlier."""
        return Parked(_earliest((self.wake_us, deadline_us)), self.waiting_for)


Stopped = Failed | Parked | Fenced


def together(stopped: Sequence[Stopped]) -> Parked:
    """Return what a group waits for whose members wait: for the first that is due."""
    parked = [why for why in stopped if isinstance(why, Parked)]
    return Parked(_earliest(why.wake_us for why in parked), ", ".join(dict.fromkeys(why.waiting_for for why in parked)))


def _earliest(times_us: Iterable[int | None]) -> int | None:
    return min((each for each in times_us if each is not None), default=None)


class Stop(StrEnum):
    """Why a run's task is cancelled."""

    SHUTDOWN = "shutdown"
    TIMEOUT = "timeout"
