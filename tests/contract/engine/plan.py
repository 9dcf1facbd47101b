"""Plans: workflows as plain data, with what each part of them does when it is run."""

from dataclasses import dataclass, replace
from typing import Literal

Gives = Literal["ok", "skip", "fail", "final", "partial", "late"]
"""What an attempt does: `final` fails without another one, `partial` leaves something to undo, `late` runs too long."""
Undoes = Literal["ok", "fail", "final"]
ROLLBACK, CONTINUE = "rollback", "continue"


@dataclass(frozen=True, slots=True)
class Step:
    """A step.

    Attributes:
        gives: What its attempts do; there are as many as it may have.
        undo: What the attempts of its compensation do; empty: it has none.
        takes_none: Whether its compensation does.
        on_failure: `rollback`, `continue`, or the name of the node that a failure skips to.
    """

    name: str
    gives: tuple[Gives, ...] = ("ok",)
    undo: tuple[Undoes, ...] = ("ok",)
    takes_none: bool = True
    on_failure: str = ROLLBACK


@dataclass(frozen=True, slots=True)
class Transform:
    """A pure function; it may raise."""

    name: str
    fails: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait for an event."""

    name: str


@dataclass(frozen=True, slots=True)
class Loop:
    """A step for each item: what the attempts do, item by item."""

    step: Step
    items: tuple[tuple[Gives, ...], ...]
    concurrency: int

    @property
    def name(self) -> str:
        """It is called as its step is."""
        return self.step.name

    @property
    def calls(self) -> list[Step]:
        """A step for each item."""
        return [replace(self.step, name=f"{self.name}[{at}]", gives=gives) for at, gives in enumerate(self.items)]


@dataclass(frozen=True, slots=True)
class Child:
    """A workflow as a step."""

    name: str
    nodes: "tuple[Node, ...]"


Member = Step | Loop | Child


@dataclass(frozen=True, slots=True)
class Parallel:
    """Members that run at the same time."""

    name: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class When:
    """A condition: it holds, does not, or its predicate raises (None)."""

    name: str
    holds: bool | None
    nodes: "tuple[Node, ...]"
    otherwise: "tuple[Node, ...]" = ()


Node = Step | Transform | Wait | Loop | Child | Parallel | When


def doing(name: str, attempt: int) -> str:
    """Return how the effect of an attempt of a step is called."""
    return f"{name}, attempt {attempt}"


def awaiting(name: str) -> str:
    """Return how a wait for an event is called, as long as it goes on."""
    return f"await {name}"


def undoing(name: str, attempt: int, given: object) -> str:
    """Return how the effect of an attempt of a compensation is called."""
    return f"undo {name} with {given}, attempt {attempt}"
