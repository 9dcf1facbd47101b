"""Asks a store and a model of it the same, and compares what they say."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from operator import attrgetter
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine

from daemon.clock import new_id
from daemon.store.model import RunRecord
from daemon.store.port import RunFilter, Store
from daemon.store.writes import StageEvent, Write
from tests.contract import records
from tests.contract.store_model import StoreModel

WORKFLOWS = ("place-order", "ship-order")
TOPICS = ("event/paid/1", "event/paid/2", "step/1")
MANY = 100
_BATCH = 6
_ANY = 5
_POISON = 2**70  # no database's integer


class StoreDriver(RuleBasedStateMachine):
    """Commits that are submitted together, and reads between them; every example is an application of its own."""

    store: Store
    runner: asyncio.Runner
    takes_anything: bool
    numbers = itertools.count(1)

    def __init__(self) -> None:
        super().__init__()
        self.app = f"app-{next(self.numbers)}"
        self.model = StoreModel()
        self.now_us = 1_000
        self.last_seq = 0
        self._batch: list[tuple[tuple[Write, ...], bool]] = []

    def read(self, method: str, *args: Any, **options: Any) -> Any:
        """Return what the store says once everything that was submitted is decided."""
        self.submit()

        async def ask() -> Any:
            return await getattr(self.store, method)(*args, **options)

        return self.runner.run(ask())

    def commit(self, *writes: Write, more: bool, poison: bool = False) -> None:
        """Submit a commit, or keep it until there is more to be submitted with it."""
        poison = poison and not self.takes_anything
        if poison:
            event = records.outgoing(f"{self.app}-poison", app=self.app, created_us=_POISON)
            writes = (*writes, StageEvent(event))
        self._batch.append((deepcopy(writes), poison))
        if not more or len(self._batch) == _BATCH:
            self.submit()

    def submit(self) -> None:
        """Have the store decide, and the model after it, about each as those before it have left everything."""
        batch, self._batch = self._batch, []

        async def send() -> Sequence[str]:
            answers = [self.store.commit(*writes) for writes, _ in batch]
            return [await _told(each) for each in answers]

        told = self.runner.run(send()) if batch else ()
        for (writes, poison), outcome in zip(batch, told, strict=True):
            before = deepcopy(self.model.rows)
            expected: set[str] = {*self.model.commit(writes)}
            if poison and expected == {"applied"}:
                self.model.rows, expected = before, {"ValueError"}
            assert outcome in expected, writes

    def event(self, owner: str = "") -> StageEvent:
        """Return what stages an event that nobody else has staged, before or after the others of its origin."""
        self.last_seq += 1
        number = self.last_seq
        of = {"app": self.app, "origin": f"run-{number % 2}", "seq": number if number % 3 else -number}
        return StageEvent(records.outgoing(f"{self.app}-{number}", owner=owner, **of))

    def free_to(self, owner: str) -> Callable[[str], bool]:
        """Return what tells of a process whether another one may take over from it."""
        return lambda of: self.model.is_dead(of, to=owner)

    def owner(self, at: int) -> str:
        """Return one of three processes."""
        return f"{self.app}-{'abc'[at % 3]}"

    def run_at(self, at: int, fits: Callable[[RunRecord], bool] = bool) -> RunRecord:
        """Return one of the runs at the top, mostly one that fits."""
        roots = [run for run in self.model.listed() if run.root_key is None]
        fitting = [run for run in roots if fits(run)] if at < _ANY else []
        found = fitting or roots
        return deepcopy(found[at % len(found)])

    def later(self) -> int:
        """Return the time, which nothing else has happened at."""
        self.now_us += 1_000
        return self.now_us

    def made(self, run_id: str, **changes: Any) -> RunRecord:
        """Return a run that begins now."""
        now_us = self.later()
        times = {"key": new_id(now_us), "created_us": now_us, "updated_us": now_us}
        return records.run("", app=self.app, run_id=run_id, **times | changes)

    def teardown(self) -> None:
        self.submit()
        self.look()

    def look(self) -> None:
        """Compare everything."""
        model, app = self.model, self.app
        roots = [run for run in model.listed() if run.root_key is None]
        keys = [run.key for run in model.listed()]
        assert self.read("runs", app, RunFilter(), after=None, limit=MANY).records == model.listed()
        assert self.read("unended", app, after=None, limit=MANY) == model.unended()
        assert self.read("steps", keys) == {key: model.steps(key) for key in keys}
        assert self.read("children", keys) == {key: model.children(key) for key in keys}
        assert [self.read("run", app, run.run_id) for run in roots] == [model.latest(run.run_id) for run in roots]
        assert self.read("outgoing", app, limit=MANY) == model.outgoing(None)
        for owner in map(self.owner, range(3)):
            assert self.read("outgoing", app, limit=MANY, owner=owner) == model.outgoing(owner)
        for name in "012345":
            known = model.rows.handled.get(name)
            found = self.read("handled", app, "greet", "crm", "made", name)
            assert found == (known and known.body_hash)
        firings = sorted(model.rows.firings.known.items(), reverse=True)
        assert self.read("firings", app, "nightly", limit=MANY) == [firing for _, firing in firings]
        for topic in TOPICS:
            assert self.read("signal", app, topic, 5_000) == model.signal(topic, 5_000)
        unended = model.unended()
        assert self.read("oldest_run_us", app, None) == (unended[0].created_us if unended else None)
        others = sum(run.workflow != WORKFLOWS[0] for run in unended)
        assert sum(self.read("unknown", app, WORKFLOWS[:1]).values()) == others
        for owner in map(self.owner, range(3)):
            asked = [run for run in unended if run.owner == owner and run.cancel_us is not None]
            assert sorted(self.read("cancellations", app, owner), key=attrgetter("key")) == asked


async def _told(answer: Awaitable[str]) -> str:
    """Return what became of a commit."""
    try:
        return await answer
    except ValueError:
        return "ValueError"
