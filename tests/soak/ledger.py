"""What really happened: a line for each effect, in the order in which they happened, whoever had them."""

import json
from dataclasses import dataclass
from pathlib import Path

APP = "soak"
CHILD = ":deliver"


@dataclass(frozen=True, slots=True)
class Line:
    """An effect.

    Attributes:
        at_s: When, on the machine's clock.
        pid: Of the process that had it.
        what: `do` or `undo` of a step, or `event`: one that a subscriber was given.
        run_id: Of the run that the step is in, which may be a child; empty for an event.
        step: The step's name, or the event's.
        key: The idempotency key, or the event's id.
        order: What it was for; empty for what undoes a step without an output.
    """

    at_s: float
    pid: int
    what: str
    run_id: str
    step: str
    key: str
    order: str

    @property
    def root(self) -> str:
        """The id of the run at the top."""
        return self.run_id.removesuffix(CHILD)

    @property
    def attempt(self) -> int:
        """The attempt of the run, which the key names."""
        return int(self.key.removeprefix(f"{APP}:{self.run_id}:").split(":", 1)[0])


class Ledger:
    """The file that the daemons append to, read from where it was last read to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0

    def news(self) -> list[Line]:
        """Return the lines that have come since the last call."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._position)
            whole, _, _ = file.read().rpartition(b"\n")
        if not whole:
            return []
        self._position += len(whole) + 1
        return [Line(*json.loads(line)) for line in whole.splitlines()]
