"""The order of the effects of a plan."""

from collections.abc import Sequence

from tests.crashes.scenario import Plan, Violation


class Order:
    """What comes after what.

    Attributes:
        names: Of all effects.
        required: Those that every run has.
        later: What comes later than an effect.
    """

    def __init__(self, plan: Plan) -> None:
        self.required: set[str] = set()
        self.later: dict[str, set[str]] = {}
        self.names = self._add(plan)

    def earlier(self, name: str) -> set[str]:
        """Return what comes earlier than an effect."""
        return {other for other in self.names if name in self.later[other]}

    def check(self, effects: Sequence[str], what: str) -> None:
        """Raise `Violation` unless whatever comes later began later, and was last done later, too."""
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        for at, name in enumerate(effects):
            first.setdefault(name, at)
            last[name] = at
        for name, at in first.items():
            for other in self.later.get(name, set()) & first.keys():
                if at > first[other] or last[name] > last[other]:
                    raise Violation(f"{what}{other} before {what}{name}: {list(effects)}")

    def reversed(self) -> "Order":
        """Return the same, the last first."""
        found = Order(())
        found.names, found.later = self.names, {name: self.earlier(name) for name in self.names}
        return found

    def _add(self, plan: Plan) -> set[str]:
        if isinstance(plan, str):
            name = plan.rstrip("?")
            if name == plan:
                self.required.add(name)
            self.later[name] = set()
            return {name}
        names: set[str] = set()
        for part in plan:
            some = self._add(part)
            if isinstance(plan, tuple):
                for name in names:
                    self.later[name] |= some
            names |= some
        return names
