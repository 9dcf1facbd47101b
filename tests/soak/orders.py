"""What is ordered: the input of a run, what is to go wrong in it, and so how it has to end."""

import random
from dataclasses import dataclass, field
from typing import Any

# Where each step stands: those with the same number overlap.
PLACES = {
    "open": 0,
    "charge": 1,
    "label": 1,
    "pack": 2,
    "pick-up": 3,
    "hand-over": 4,
    "wrap": 5,
    "approve": 5,
    "close": 6,
}


@dataclass(slots=True)
class Order:
    """An order, and what has become of it.

    Attributes:
        data: The application's `Order`.
        parcels: How many; of `fulfil-order`, which an event starts. None: `settle-order`, which a request starts.
        end: The status that its run has to end with.
        reported: What is reported of `approve`: `complete` or `fail`.
        pauses_s: How long the outside thinks, before its first and its second answer.
        run_id: Of its run, as soon as that is known.
        seen: How its run ended, as a client saw it.
    """

    data: dict[str, Any]
    parcels: int | None
    end: str
    reported: str
    pauses_s: tuple[float, float]
    run_id: str | None = None
    seen: str | None = None
    acknowledged: bool = field(default=False)

    @property
    def id(self) -> str:
        return str(self.data["id"])

    @property
    def steps(self) -> set[str]:
        """The steps of a run that completes."""
        if self.parcels is None:
            return {"open", "approve", "close"}
        packed = {f"pack[{number}]" for number in range(self.parcels)}
        return {"open", "charge", "label", *packed, "pick-up", "hand-over", "close"} | (
            {"wrap"} if self.data["gift"] else set()
        )


def place_of(step: str) -> int:
    """Return where a step, or an item of a loop, stands."""
    return PLACES[step.partition("[")[0]]


def next_order(chance: random.Random, number: int) -> Order:
    """Return an order: of six, about four complete, one fails, and one stumbles."""
    by_event = chance.random() < 0.6
    fate = chance.choices(["complete", "fail", "report", "cancel"], [7, 2, 0.5, 0.5])[0]
    data = {
        "id": f"order-{number}",
        "pace_s": round(chance.uniform(0.002, 0.04), 4),
        "gift": chance.random() < 0.5,
    }
    order = Order(
        data,
        chance.randint(1, 4) if by_event else None,
        "completed",
        "complete",
        (chance.uniform(0, 0.5), chance.uniform(0, 0.5)),
    )
    if chance.random() < 0.2:
        data["stumbles_at"] = _step_of(order, chance)
    if fate == "fail":
        data["fails_at"], order.end = _step_of(order, chance), "reverted"
    elif fate == "report" and not by_event:
        order.reported, order.end = "fail", "reverted"
    elif fate == "cancel" and not by_event:
        order.end = "cancelled"
    if data.get("stumbles_at") == "approve":
        del data["stumbles_at"]  # it is not tried again
    return order


def _step_of(order: Order, chance: random.Random) -> str:
    return chance.choice(sorted(order.steps))
