"""What is seen of a run, and what is left to undo of it, as the model tells."""

from dataclasses import dataclass, field

from tests.contract.engine.plan import Step


@dataclass(slots=True)
class Seen:
    """What is seen of a run.

    Attributes:
        states: Of the steps that were started.
        errors: Step and phase of what finally failed, also inside children.
        children: By the name that they have as steps.
        doubts: The steps that may have left an effect that nobody can undo, should it come to that.
    """

    status: str = "running"
    states: dict[str, str] = field(default_factory=dict)
    errors: list[tuple[str, str]] = field(default_factory=list)
    compensated: list[str] = field(default_factory=list)
    children: "dict[str, Seen]" = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    parent: "Seen | None" = None

    @property
    def gave_up(self) -> bool:
        """Whether something is left that should have been undone."""
        return any(phase == "compensate" for _, phase in self.errors)

    def note(self, name: str, phase: str) -> None:
        """Note an error here, and in the runs around it."""
        self.errors.append((name, phase))
        if self.parent is not None:
            self.parent.note(name, phase)

    def family(self) -> "list[Seen]":
        """Return this run and all inside it."""
        return [self, *(each for child in self.children.values() for each in child.family())]


@dataclass(frozen=True, slots=True)
class Undo:
    """A step to undo, and what its compensation gets."""

    step: Step
    given: str
    run: Seen


@dataclass(frozen=True, slots=True)
class Group:
    """What is undone at the same time."""

    trails: "list[Trail]"


@dataclass(frozen=True, slots=True)
class Nested:
    """A child to undo as a unit."""

    child: Seen
    name: str
    run: Seen
    trail: "Trail"


Trail = list[Undo | Group | Nested]
