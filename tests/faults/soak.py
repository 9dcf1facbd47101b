"""A soak of events: everything of a deck goes wrong under load, for as long as one likes, and a ledger is kept."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.acceptance.process import until
from tests.faults.autopsy import autopsy
from tests.faults.deck import DECK, Deck
from tests.faults.laboratory import Laboratory, Node
from tests.faults.ledger import Balance
from tests.faults.publisher import repeating
from tests.soak.database import Kind, database
from tests.soak.recovery import percentile

PATIENCE_S = 6
_AGAIN_S = 120.0
_LETTERS = 150  # more are not listed at once
_MISSING = 250  # those of an ordered subscriber are handled one after the other


@dataclass(frozen=True, slots=True)
class EventPlan:
    """What is to be done.

    Attributes:
        seconds: How long there is load and trouble.
        seed: Decides what is ordered, and what goes wrong.
        daemons: How many there are, on one broker and one store.
        rate: Orders a second, each an event to three subscribers, one of which emits another.
        pause_s: The mean time between two faults.
        faults: Kinds of them, of `DECK`.
    """

    seconds: float
    seed: int = 1
    daemons: int = 2
    store: Kind = "sqlite"
    rate: float = 40
    pause_s: float = 2.5
    faults: Sequence[str] = tuple(DECK)


@dataclass(frozen=True, slots=True)
class EventReport:
    """What has come of it.

    Attributes:
        balance: At the very end.
        dead: How many dead letters there were before they were replayed, with those that went with their broker.
        replayed: How many were put back on their queues, by the command.
        seconds: By fault, from when the outside was well to when a new event was handled by everybody.
        loaded_s: How long there was load.
        again: How often the publisher had to try again.
        violations: Everything that must not be, as sentences.
        trouble: What the daemons logged as errors, by event.
    """

    plan: EventPlan
    balance: Balance
    dead: int
    replayed: int
    seconds: Sequence[tuple[str, float]]
    loaded_s: float
    again: int
    violations: Sequence[str]
    trouble: Counter[str]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        balance = self.balance
        yield f"{'orders published':<28} {balance.published:>9,}  {balance.published / self.loaded_s:.1f} a second"
        yield f"{'published again':<28} {self.again:>9,}  with the same id, since no confirm had come"
        yield f"{'handled':<28} {balance.handled:>9,}  an order by a subscriber"
        gone = f"{balance.dead:,} went with a broker that was emptied" if balance.dead else ""
        yield f"{'dead-lettered':<28} {self.dead:>9,}  {gone}".rstrip()
        yield f"{'replayed, and then handled':<28} {self.replayed:>9,}"
        yield f"{'lost':<28} {len(balance.lost):>9,}"
        yield f"{'repeated without the key':<28} {balance.repeated:>9,}"
        yield f"{'repeated with the key':<28} {balance.extra:>9,}"
        yield f"{'seconds until a new event is handled':<38}  p50, p99, most"
        for kind in sorted({kind for kind, _ in self.seconds}):
            yield _times(f"  {kind}", [seconds for each, seconds in self.seconds if each == kind])
        yield _times("  any", [seconds for _, seconds in self.seconds])
        logged = ", ".join(f"{name} {count:,}" for name, count in sorted(self.trouble.items()))
        yield f"{'errors in their logs':<28} {self.trouble.total():>9,}  {logged}".rstrip()
        yield f"{'violations':<28} {len(self.violations):>9,}"
        yield from (f"  {violation}" for violation in self.violations[:20])


def _times(what: str, of: Sequence[float]) -> str:
    worst = f"{percentile(of, 0.5):7.2f} {percentile(of, 0.99):7.2f} {max(of, default=0.0):7.2f}"
    return f"{what:<28} {len(of):>9,}  {worst}"


class Load:
    """Orders: of a thousand, twenty fail once or twice, ten are rejected, three take longer than the broker waits."""

    def __init__(self, lab: Laboratory, calm: threading.Lock, seed: int) -> None:
        self.orders: list[str] = []
        self._lab = lab
        self._calm = calm
        self._chance = random.Random(seed)  # noqa: S311 - the same one every time
        self._rejected = 0

    def place(self) -> None:
        """Place an order, unless very many are not handled yet."""
        if len(self._lab.ledger.missing()) > _MISSING:
            return  # a busy machine does not make a queue longer and longer
        with self._calm:
            self.orders.append(self._lab.order(**self._next()))

    def _next(self) -> dict[str, Any]:
        fate = self._chance.random()
        if fate < 0.02:
            return {"fails": self._chance.randint(1, 2)}
        if fate < 0.03 and self._rejected < _LETTERS:
            self._rejected += 1
            return {"rejected": True}
        if fate < 0.033:
            return {"slow_s": 1.3 * PATIENCE_S}
        return {"pause_s": self._chance.uniform(0, 0.02)}


def soak_events(plan: EventPlan, node: Node, folder: Path) -> EventReport:
    """Do as planned on a broker that runs, in an empty folder, and return what has come of it."""
    calm = threading.Lock()
    seconds: list[tuple[str, float]] = []
    violations: list[str] = []
    with database(plan.store, folder) as store:
        settings = {"storage.url": store.url, "broker.consumer_timeout_s": PATIENCE_S}
        with (
            Laboratory(node, folder, lambda _: None, daemons=plan.daemons, settings=settings) as lab,
            lab.patience(PATIENCE_S),
        ):
            lab.start()
            load = Load(lab, calm, plan.seed)
            started_s = time.monotonic()
            with repeating(load.place, every_s=1 / plan.rate):
                violations += _trouble(plan, lab, Deck(lab, store, calm, *_chances(plan)), seconds)
            loaded_s = time.monotonic() - started_s
            before = balance = lab.balance()
            disorder = lab.ledger.disorder("straight", load.orders)
            replayed = 0
            if not violations:
                replayed = lab.replay()
                balance = lab.balance()
            for number in lab.fleet.numbers:
                lab.fleet.terminate(number)
            trouble = Counter(
                each["event"] for each in lab.fleet.logged() if each.get("level") in {"error", "critical"}
            )
        violations += lab.fleet.violations
        violations += dict.fromkeys([*before.wrong, *balance.wrong])
        lost = dict.fromkeys([*before.lost, *balance.lost])
        violations += [f"{order} is lost to {subscriber}" for subscriber, order in lost]
        violations += [f"straight did {later} before {earlier}" for later, earlier in disorder]
        if damage := store.damage():
            violations.append(f"the database is damaged: {damage}")
    again = lab.publisher.again
    return EventReport(plan, balance, before.dead, replayed, seconds, loaded_s, again, violations, trouble)


def _chances(plan: EventPlan) -> tuple[random.Random, list[str]]:
    kinds = [kind for kind in plan.faults if kind != "database" or plan.store == "postgres"]
    return random.Random(plan.seed), kinds  # noqa: S311 - the same one every time


def _trouble(plan: EventPlan, lab: Laboratory, deck: Deck, seconds: list[tuple[str, float]]) -> list[str]:
    """Strike until the time is up, and see after each fault how long it takes until a new event is handled."""
    chance = random.Random(plan.seed)  # noqa: S311 - the same one every time
    until_s = time.monotonic() + plan.seconds
    while (left_s := until_s - time.monotonic()) > 0:
        time.sleep(min(left_s, plan.pause_s * chance.uniform(0.4, 1.6)))
        if time.monotonic() > until_s or not deck.kinds:
            continue
        kind = deck.draw()
        try:
            deck.strike(kind)
            well_s = time.monotonic()
            _await_handled(lab)
            seconds.append((kind, time.monotonic() - well_s))
            for number in lab.fleet.numbers:
                lab.fleet.await_ready(number)
        except (AssertionError, httpx.HTTPError) as error:
            return [f"after {kind}: {type(error).__name__}: {error}\n{autopsy(lab.node)}"]
    return []


def _await_handled(lab: Laboratory) -> None:
    new = lab.order()
    assert new in lab.ledger.expected, f"{new} is not published: {lab.publisher.trouble}"
    until(lambda: lab.ledger.is_done(new), "a new event is handled", timeout_s=_AGAIN_S)
