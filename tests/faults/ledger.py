"""What was published, and what has become of it: nothing may be missing, and what was done twice is counted."""

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from daemon.events.handling import MAX_CRASHES

PLACED = frozenset({"left", "right", "straight"})
EVERYBODY = PLACED | {"echo"}
Pair = tuple[str, str]  # a subscriber, and an order


@dataclass(frozen=True, slots=True)
class Line:
    """What a handler did.

    Attributes:
        at_s: When, on the machine's clock.
        pid: Of its process.
        what: `begun`, before anything can go wrong, or `done`, the effect itself.
        key: By which an effect can be recognised that was had before.
    """

    at_s: float
    pid: int
    what: str
    subscriber: str
    order: str
    key: str


@dataclass(frozen=True, slots=True)
class Balance:
    """How the ledger stands.

    Attributes:
        published: Orders that the broker, or the daemon, has confirmed.
        handled: Pairs of a subscriber and an order with an effect.
        dead: Pairs that are dead letters.
        lost: Pairs that are neither.
        repeated: Effects that had happened before, by their key.
        extra: Effects that had happened before, under another key: nobody could have recognised them.
        wrong: What must not be, as sentences.
    """

    published: int
    handled: int
    dead: int
    lost: Sequence[Pair]
    repeated: int
    extra: int = 0
    wrong: Sequence[str] = field(default=())

    def __str__(self) -> str:
        return (
            f"published {self.published:,}, handled {self.handled:,}, dead-lettered {self.dead:,}, "
            f"lost {len(self.lost):,}, effects repeated {self.repeated:,}"
        )


class Ledger:
    """The file that the handlers append to, and what was published; for any number of threads.

    Attributes:
        expected: By order, the subscribers that have to have its effect.
        given_up: By order, those that have to have it as a dead letter.
        unknown: Orders whose publishing was never confirmed: they may be there, or not.
        buried: What was a dead letter when the broker was emptied.
        suspected: What is a dead letter since it was under way when as many processes died as it takes to blame it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.expected: dict[str, frozenset[str]] = {}
        self.given_up: dict[str, frozenset[str]] = {}
        self.unknown: set[str] = set()
        self.buried: set[Pair] = set()
        self.suspected: set[Pair] = set()
        self.lines: list[Line] = []
        self._done: Counter[Pair] = Counter()
        self._keys: defaultdict[Pair, set[str]] = defaultdict(set)
        self._missing: dict[Pair, None] = {}
        self._lock = threading.RLock()
        self._begun: Counter[Pair] = Counter()
        self._processes: defaultdict[Pair, set[int]] = defaultdict(set)
        self._position = 0

    def expect(self, order: str, handled: Collection[str], dead: Collection[str] = ()) -> None:
        """Note that an order is published for certain, and who has to do what with it."""
        with self._lock:
            self.given_up[order] = frozenset(dead)
            self._expect(order, frozenset(handled))

    def redeem(self, letters: Iterable[Pair]) -> None:
        """Note that dead letters are put back on their queues: now they have to have their effect, and what follows."""
        with self._lock:
            for subscriber, order in letters:
                self.given_up[order] -= {subscriber}
                self._expect(order, self.expected[order] | {subscriber, *({"echo"} if subscriber == "left" else ())})

    def _expect(self, order: str, handled: frozenset[str]) -> None:
        self.expected[order] = handled
        self._missing.update({(each, order): None for each in sorted(handled) if not self._done[each, order]})

    def read(self) -> None:
        """Take in the lines that have come since the last call."""
        with self._lock:
            self._read()

    def _read(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._position)
            whole, _, _ = file.read().rpartition(b"\n")
        if not whole:
            return
        self._position += len(whole) + 1
        for line in (Line(*json.loads(text)) for text in whole.splitlines()):
            self.lines.append(line)
            pair = line.subscriber, line.order
            self._processes[pair].add(line.pid)
            (self._done if line.what == "done" else self._begun)[pair] += 1
            if line.what == "done":
                self._keys[pair].add(line.key)
                self._missing.pop(pair, None)

    def begun(self, subscriber: str, order: str) -> int:
        """Return how often a handler has begun with an order."""
        self.read()
        return self._begun[subscriber, order]

    def done(self, subscriber: str, order: str) -> int:
        """Return how often an order has had its effect."""
        self.read()
        return self._done[subscriber, order]

    def is_done(self, order: str) -> bool:
        """Tell whether everybody has handled an order who has to."""
        self.read()
        return all(self._done[subscriber, order] for subscriber in self.expected[order])

    def missing(self) -> list[Pair]:
        """Return what has to be done and is not."""
        self.read()
        with self._lock:
            return list(self._missing)

    def balance(self, letters: Iterable[Pair]) -> Balance:
        """Compare what was published with the effects, and with the dead letters that there are."""
        with self._lock:
            return self._balance({*letters, *self.buried})

    def _suspect(self, dead: Iterable[Pair]) -> None:
        for each, order in dead:
            if each in self.expected.get(order, ()) and len(self._processes[each, order]) >= MAX_CRASHES:
                self.suspected.add((each, order))
                self.given_up[order] |= {each}
                self.expected[order] -= {each, "echo"} if each == "left" else {each}
        self._missing = {(each, order): None for each, order in self._missing if each in self.expected[order]}

    def _balance(self, dead: set[Pair]) -> Balance:
        self.read()
        self._suspect(dead)
        missing = set(self.missing())
        awaited = {(each, order) for order, by in self.given_up.items() for each in by}
        known = self.expected.keys() | self.unknown
        wrong = [f"{each} of {order} is a dead letter" for each, order in sorted(dead - awaited)]
        wrong += [f"nobody published {order}, done by {each}" for each, order in self._done if order not in known]
        both = sorted(pair for pair in dead - self.suspected if self._done[pair])
        wrong += [f"{each} of {order} is done and a dead letter" for each, order in both]
        again = {pair: len(keys) for pair, keys in self._keys.items() if len(keys) > 1}
        wrong += [f"{each} of {order} is done under {count} keys" for (each, order), count in sorted(again.items())]
        extra = sum(again.values()) - len(again)
        return Balance(
            published=len(self.expected),
            handled=len(self._done),
            dead=len(dead),
            lost=sorted((missing | awaited) - dead),
            repeated=self._done.total() - len(self._done) - extra,
            extra=extra,
            wrong=wrong,
        )

    def disorder(self, subscriber: str, orders: Sequence[str]) -> list[Pair]:
        """Return the neighbours among a subscriber's first effects that are not in the order of `orders`."""
        self.read()
        place = {order: number for number, order in enumerate(orders)}
        seen = dict.fromkeys(line.order for line in self.lines if line.what == "done" and line.subscriber == subscriber)
        of_it = [order for order in seen if order in place]
        return [(a, b) for a, b in pairwise(of_it) if place[a] > place[b]]
