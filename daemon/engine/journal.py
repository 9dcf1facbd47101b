"""What a run and its children have decided, in order, on its way to the store."""

from collections.abc import Awaitable, Coroutine
from contextlib import suppress
from typing import Any

from daemon.engine.control import Fenced, Forestalled
from daemon.engine.ports import Ports
from daemon.engine.watching import RunEvent, Told, events_of
from daemon.store.model import RunRecord
from daemon.store.writes import FenceRun, InsertRun, Known, Outcome, PutGraph, PutStep, UpdateChild, UpdateRun, Write

_APPLIED = Outcome.APPLIED  # a name: an enum takes long to find its members


class Journal:
    """The writes of one run, and of the runs inside it, as one sequence of commits.

    Invariants: `pending` holds, in order, what is decided and not yet submitted; commits are applied in the order in
    which they were submitted; every one of them is refused as soon as another process owns the run.

    Attributes:
        stale: Whether the run's row is to be written with the next commit.
        unborn: Whether the run's start is not written yet: it goes with the first commit that there is. So it is where
            whatever started the run comes again if this process dies, and starts the run again.
        unseen: Whether nobody can look at the run before `show`, nor go on with it if this process dies: until then
            nothing of it has to be written.
    """

    __slots__ = (
        "_ahead",
        "_children",
        "_fence",
        "_flying",
        "_ports",
        "_record",
        "_refused",
        "_runs",
        "_told",
        "pending",
        "stale",
        "unborn",
        "unseen",
    )

    def __init__(self, ports: Ports, record: RunRecord) -> None:
        self.pending: list[Write] = []
        self.stale = False
        self.unborn = False
        self.unseen = False
        self._ports = ports
        self._record = record
        self._fence: FenceRun | None = None
        self._ahead: list[Write] = []
        self._children: dict[str, RunRecord] = {}
        self._flying = 0
        self._refused = 0
        self._runs = {record.key: record}
        self._told: Told = {(record.run_id, ""): (record.status, record.attempt)}

    def include(self, record: RunRecord) -> None:
        """Tell of a run inside this one, too, to whoever watches."""
        self._runs[record.key] = record

    @property
    def is_clear(self) -> bool:
        """Whether everything that was decided so far is durable, if it has to be; else `flush` makes it so.

        What runs abreast may have taken along what is not durable yet: then the next commit tells, as they keep their
        order.
        """
        return self.unseen or (not self.pending and not self._flying)

    def show(self) -> None:
        """Have what is decided written: somebody may look at the run from now on. The store applies it at once."""
        if self.unborn or self.pending:
            with suppress(StopIteration):
                self.flush().send(None)

    def flush(self, *guards: Write) -> Coroutine[Any, Any, bool]:
        """Make what is pending durable; False if one of `guards` refused: then nothing was written, and all is kept.

        Raises:
            Fenced: The run was taken over.
        """
        return self._commit(guards, with_row=self.stale)

    async def confirm(self) -> None:
        """Learn whether the run is still this process's; nothing is written. Raises `Fenced`."""
        if await self._ports.store.commit(self._fenced()) is not Outcome.APPLIED:
            raise Fenced

    def put_run(self, *, hint: bool = False) -> Coroutine[Any, Any, bool]:
        """Make the run's row durable, and what is pending; `hint`: others may wait for that. Raises `Fenced`."""
        return self._commit((), with_row=True, hint=hint)

    def note(self, record: RunRecord) -> None:
        """Have a row written with the next commit."""
        if record is self._record:
            self.stale = True
        else:
            self._children[record.key] = record

    def put_ahead(self, write: PutStep | PutGraph) -> None:
        """Have something written with the first commit that there is, which it does not cause itself."""
        self._ahead.append(write)

    def _fenced(self) -> FenceRun:
        if self._fence is None:
            self._fence = FenceRun(self._record.key, self._ports.owner, self._record.epoch)
        return self._fence

    def _head(self, *, with_row: bool, hint: bool) -> Write:
        """Return what a commit begins with: the run's start or row, or else a guard for it."""
        if with_row:
            self._record.updated_us = self._ports.clock.now_us()
        if self.unborn:
            self.unborn = self.unseen = False
            return InsertRun(self._record)
        return UpdateRun(self._record, hint) if with_row else self._fenced()

    async def _commit(self, guards: tuple[Write, ...], *, with_row: bool, hint: bool = False) -> bool:
        if self.unborn and guards:  # which may refuse, and then the run has begun all the same
            await self._commit((), with_row=False)
        head = self._head(with_row=with_row, hint=hint)
        ahead, pending, children, stale = self._ahead, self.pending, self._children, self.stale
        writes = pending
        if ahead:
            writes = [*ahead, *pending]
            self._ahead = []
        if children:
            now_us = self._ports.clock.now_us()
            for record in children.values():
                record.updated_us = now_us
            writes = [*writes, *map(UpdateChild, children.values())]
            self._children = {}
        self.pending, self.stale = [], False
        refused, news = self._refused, self._ports.news
        events: list[RunEvent] | None = None
        if news.is_watched:  # records change while they are on their way
            events = events_of((*writes, *guards, head), self._runs, self._ports.clock.now_us())
        found = self._ports.store.commit(head, *guards, *writes)
        outcome = found.outcome if type(found) is Known else await self._landed(found)
        if outcome is _APPLIED:
            if events:
                news.tell(events, self._told)
            # If a commit before this one was refused meanwhile, what it took along is pending again.
            return self._refused == refused or await self.flush()
        if outcome is Outcome.FENCED or not guards:
            raise Forestalled if type(head) is InsertRun else Fenced
        self._refused += 1
        self._ahead = [*ahead, *self._ahead]
        self.pending = [*pending, *self.pending]
        self._children = {**children, **self._children}
        self.stale = stale or self.stale
        return False

    async def _landed(self, commit: Awaitable[Outcome]) -> Outcome:
        self._flying += 1
        try:
            return await commit
        finally:
            self._flying -= 1
