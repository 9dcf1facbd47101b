"""The seam between sagad and databases: what a store promises."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

from daemon.store.job_port import JobStore
from daemon.store.model import (
    OutgoingEvent,
    QueuedDelivery,
    Receipt,
    RunRecord,
    RunStatus,
    Signal,
    StepRecord,
)
from daemon.store.writes import Outcome, Write

NOTHING: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list; None does not restrict.

    Attributes:
        trigger: A trigger's kind (`event`), or kind and name (`event:hello-customer`).
        since_us: Created at this time or later, in microseconds since the epoch.
        text: Occurs in the run id, the workflow's name, the input or the errors, ignoring case.
    """

    workflow: str | None = None
    status: RunStatus | None = None
    trigger: str | None = None
    since_us: int | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class FoundRuns:
    """A page of runs, newest first, and what `after` is for the next one; None: there are no more."""

    records: list[RunRecord]
    next: str | None


class Store(JobStore, Protocol):
    """Keeps runs, checkpoints, signals, queues, firings and the outbox of one or many applications.

    Guarantees: a commit is applied whole or not at all; once its outcome is known it is durable (as far as the
    implementation keeps anything at all); commits of one process are applied in the order in which they were
    submitted; a guard that affects no row voids its whole commit and no other. A commit whose caller is cancelled
    is applied all the same. A read sees every commit whose outcome was known before it was called.

    A process is dead when its lease is over, was ended, or was never announced; never to itself.

    Every method that reads or writes raises `StoreUnavailableError` while the database cannot be reached, except
    `commit`: it waits, as long as the store is open, for a database that will take writes again.
    """

    @property
    def trouble(self) -> str:
        """Why nothing can be written at the moment, in one sentence; empty if it can."""

    async def open(self) -> None:
        """Open, and bring the schema up to date. Raises `StoreVersionError` for a newer database."""

    async def aclose(self) -> None:
        """Commit what was submitted, and close."""

    def commit(self, *writes: Write) -> Awaitable[Outcome]:
        """Submit writes that belong together; the submission happens at the call, the outcome is awaited.

        Records are as they were at the call; what happens to them afterwards is not stored. The result may be
        awaited once, or dropped. Awaiting raises `ValueError` for values that no database could keep, and
        `StoreUnavailableError` if the store was closed before it could write.
        """

    # --- runs ---
    async def run(self, app: str, run_id: str) -> RunRecord | None:
        """Return the latest attempt of a run."""

    async def runs(
        self, app: str, wanted: RunFilter, *, after: str | None, limit: int, within_s: float = inf
    ) -> FoundRuns:
        """Return a page of runs, newest first; former attempts and children are listed too.

        `within_s`: after this time the page ends where it is, short or empty, and its `next` is where to go on. One
        that is short for that reason may have, out of their order, a few older runs whose id begins with the text that
        is looked for; the pages that follow leave them out. A few hundred runs are looked at in any case. Keys are
        ids by `new_id` of the time of their creation, for `since_us`.
        """

    async def steps(self, keys: Sequence[str]) -> dict[str, list[StepRecord]]:
        """Return the checkpoints of runs by their keys, in the order of `seq`; a key without any is there, empty."""

    async def children(self, root_keys: Sequence[str]) -> dict[str, list[RunRecord]]:
        """Return all descendants of runs by the keys of these, in the order of their own; one without any is there."""

    async def graph(self, graph_hash: str) -> bytes | None:
        """Return the JSON of the graph that has a hash."""

    async def unended(self, app: str, *, after: str | None, limit: int) -> list[RunRecord]:
        """Return the unended runs that are at the top, in the order of their keys, those after a key."""

    async def unknown(self, app: str, workflows: Sequence[str]) -> dict[str, int]:
        """Return how many unended runs there are of each other workflow than these, children aside."""

    async def claim_runs(
        self, app: str, owner: str, workflows: Sequence[str], *, limit: int, without: Mapping[str, int] = NOTHING
    ) -> list[RunRecord]:
        """Take over unended runs of these workflows whose owner is dead or nobody; in one transaction.

        `epoch` is raised by 1: whatever the former owner still writes is void. Children are not taken over by
        themselves.

        `without`: keys of runs that are not taken over as long as they are nobody's and have this epoch.
        """

    async def cancellations(self, app: str, owner: str) -> list[RunRecord]:
        """Return the unended runs of this owner that are to be cancelled."""

    async def oldest_run_us(self, app: str, workflows: Sequence[str] | None) -> int | None:
        """Return when the oldest unended run of these workflows was created, children aside; None: there is none.

        `workflows`: None: of all that there are.
        """

    # --- signals ---
    async def signal(self, app: str, topic: str, since_us: int) -> Signal | None:
        """Return the first signal of a topic that came at or after `since_us`."""

    async def signalled(self, app: str, owner: str, *, after: int = 0) -> tuple[list[RunRecord], int]:
        """Return this owner's runs for which a signal came, and the position to ask with the next time.

        They are unended runs at the top, in the order of their keys, of which a step, or one of a descendant, is
        `waiting` for a topic with a signal that came when the run was there, and that was stored after the position
        `after`; 0: whenever it was stored, which takes longer the more steps wait.
        """

    # --- processes ---
    async def register(self, app: str, owner: str, *, lease_s: float) -> None:
        """Announce or renew this process's lease on what it owns; by the database's clock."""

    async def retire(self, owner: str) -> None:
        """End the lease: what this process still owns may be claimed by others at once."""

    # --- queues ---
    async def bindings(self, app: str) -> list[tuple[str, str]]:
        """Return (subscriber, pattern) of every queue."""

    async def bind(self, app: str, subscriber: str, patterns: Sequence[str]) -> None:
        """Make these exactly the patterns that a queue is bound to."""

    async def take(
        self, app: str, subscriber: str, owner: str, *, limit: int, now_us: int, ordered: bool = False
    ) -> list[QueuedDelivery]:
        """Take over due deliveries that nobody owns, or whose owner is dead; `deliveries` is raised by 1.

        Those that have been due for longest come first, and among equals those that were enqueued first.

        `ordered`: at most one, the first of the queue that is no dead letter; nothing while that one is not due, or
        its owner lives. In the same transaction, so that two processes never hold two of one ordered queue.
        """

    async def park(self, delivery: QueuedDelivery) -> int:
        """Put a delivery on its queue, owned or not, and return its `seq`.

        When that raises, it may be there all the same.
        """

    async def next_due_us(self, app: str, subscribers: Sequence[str], *, ordered: bool = False) -> int | None:
        """Return when the next delivery that nobody owns is due on these queues; `ordered`: only each queue's first."""

    async def queue_depths(self, app: str) -> dict[str, tuple[int, int, int]]:
        """Return (ready, owned, dead) by subscriber; ready includes those that are not due yet."""

    async def dead(
        self, app: str, subscriber: str, *, ids: Sequence[str] | None, limit: int, after: int = 0
    ) -> list[QueuedDelivery]:
        """Return dead letters by `seq`, which is oldest first: beyond `after`, and of these event ids if given."""

    def handled(
        self, app: str, subscriber: str, source: str, event_name: str, event_id: str
    ) -> Awaitable[bytes | None]:
        """Return the hash of the body of an event that a subscriber is done with; None if it is not.

        It is empty where nobody noted one.
        """

    # --- deliveries of a broker ---
    async def receipt(self, app: str, subscriber: str, source: str, event_name: str, event_id: str) -> Receipt | None:
        """Return what is known of a delivery."""

    async def claim_receipt(self, app: str, subscriber: str, mark: str, owner: str) -> Receipt | None:
        """Take over the oldest receipt with a mark that is unfinished; None if there is none.

        Unfinished is what nobody has, and what a dead process had, unless the subscriber is done with that event. The
        oldest is the one whose event id is the smallest. In one transaction: two that ask never get the same one.
        """

    # --- outbox ---
    async def claim_outgoing(self, app: str, owner: str, *, limit: int) -> int:
        """Take over staged events of which the owner is dead or nobody; return how many. In one transaction.

        Those of one owner are taken over in the order of their positions.
        """

    async def outgoing(self, app: str, *, limit: int, after: int = 0, owner: str | None = None) -> list[OutgoingEvent]:
        """Return staged events in the order of their commits; those of one origin in the order of `seq`.

        `after`: only those behind this position. One whose commit was overtaken by a later one may lie before it.

        `owner`: only this process's, and of these none as long as another one has one of the same origin with a
        smaller `seq`; None: everybody's.
        """

    # --- retention: each call is one transaction, and returns how many it deleted ---
    async def prune_runs(
        self, app: str, *, before_us: int, workflow: str | None, without: Sequence[str] = (), limit: int
    ) -> int:
        """Delete runs that ended before, the oldest first, with their descendants and all checkpoints; count the runs.

        `workflow`: only runs of this one; None: of all but `without`. Never a run that has not ended. Keys are ids by
        `new_id` of the time of their creation: one that says that it was created later is left where it is.
        """

    async def prune_handled(self, app: str, *, before_us: int, limit: int) -> int:
        """Forget which events were handled before, and what is known of deliveries that first came before."""

    async def prune_firings(self, app: str, *, before_us: int, limit: int) -> int:
        """Delete firings that ended before, but never the latest of a job, and what was ordered before."""

    async def prune_signals(self, app: str, *, topic_prefix: str, before_us: int, limit: int) -> int:
        """Delete signals that came before, of the topics that begin with this."""

    # --- hints ---
    def on_hint(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call back in the event loop when somebody may have to look again.

        A queue may have changed, a run lost its owner or is to be cancelled, a signal came, or a place became free.
        This process's own commits count as well as other processes'. Returns the unsubscriber. A hint may come
        without reason, or be lost: whoever relies on it also looks now and then by itself.
        """
