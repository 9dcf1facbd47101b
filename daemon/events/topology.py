"""What a broker has, compared with what an application wants of it; no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

Kind = Literal["exchange", "queue", "binding"]


class State(StrEnum):
    """How something on the broker stands.

    Attributes:
        OK: It is there, as it is wanted.
        MISSING: It is wanted and not there; for a binding: nobody remembers having made it.
        LATER: It is not there, and is declared when it is first needed.
        DIFFERENT: It is there with other properties; nobody changes it.
        ORPHAN: A queue whose subscriber the application no longer has.
        STALE: A binding that its subscriber no longer wants.
        UNKNOWN: The broker does not tell.
    """

    OK = "ok"
    MISSING = "missing"
    LATER = "later"
    DIFFERENT = "different"
    ORPHAN = "orphan"
    STALE = "stale"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing on the broker.

    Attributes:
        name: Of the exchange or the queue; of the queue that is bound.
        wanted: Its properties as they should be; of a binding its `exchange` and `routing_key`; empty of an orphan.
        detail: What to know about its state, and what to do; may be empty.
    """

    kind: Kind
    name: str
    wanted: Mapping[str, Any]
    state: State
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is there, what is wanted, and the difference.

    Attributes:
        items: Everything that is wanted, then what is left over.
        commands: What an administrator may want to run, such as limits that are no business of the application's.
        troubles: What could not be done, in sentences.
    """

    items: Sequence[Item]
    commands: Sequence[str] = ()
    troubles: Sequence[str] = ()

    @property
    def lacks(self) -> bool:
        """Whether anything is missing or different, so that some subscriber cannot work as it should."""
        return any(item.state in (State.MISSING, State.DIFFERENT) for item in self.items)

    def of(self, state: State) -> list[Item]:
        """Return what stands so."""
        return [item for item in self.items if item.state is state]
