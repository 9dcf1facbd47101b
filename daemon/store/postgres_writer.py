"""Group commit on PostgreSQL: one task that owns the only connection that writes commits.

    commits ---> queue ---> [ everything that is queued ] ---> BEGIN ... COMMIT ---> their outcomes
                              ^                                  |
                              +---- reconnect, find out <--------+  the connection was lost

There is no timer: a batch is what was queued while the previous one was on its way.

A batch is one statement if that can be, and if none of its guards refuses; else it is done step by step (`careful`).

If the connection is lost while a COMMIT is on its way, or such a statement, nobody has said whether it happened. The
database knows: every batch leaves its number in the writer's row of `batches`. That is looked at before anything else
is done, so that no commit is applied twice, or refused because of its own former success; and it is changed, so that a
statement that arrives later still finds another number than that of the batch before it, and does nothing. (The number
of the transaction would not do: one that was under way when the server was killed leaves it to the next that begins,
which is then asked about instead.)
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import asyncpg

from daemon.errors import StoreUnavailableError
from daemon.log import get_logger
from daemon.store.postgres_batch import Batch, Commit, in_groups
from daemon.store.postgres_link import LOST, STATEMENT_S, Link, is_refusal, reason
from daemon.store.postgres_numbers import Numbers
from daemon.store.postgres_swift import Swift
from daemon.store.writes import Outcome

_BATCH_MAX = 1_000
_FIRST_BACKOFF_S = 0.05
_LONGEST_BACKOFF_S = 2.0
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Unknown:
    """A batch of which nobody knows whether it was committed."""

    number: int
    process: int
    batch: Sequence[Commit]
    outcomes: Sequence[Outcome]


class Writer:
    """The task that writes.

    Args:
        connect: Makes a connection; raises `StoreUnavailableError`.
        hinted: Called after something was committed that somebody may wait for.

    Attributes:
        transactions: How many were committed; many commits share one.
        trouble: Why nothing can be written at the moment; empty if it can.
    """

    def __init__(self, connect: Callable[[], Awaitable[Link]], *, hinted: Callable[[], object]) -> None:
        self.transactions = 0
        self.trouble = ""
        self._connect = connect
        self._hinted = hinted
        self._link: Link | None = None
        self._numbers = Numbers()
        self._is_careful = False
        self._pending: list[Commit] = []
        self._size = _BATCH_MAX
        self._unknown: _Unknown | None = None
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing that was submitted is undecided."""
        return not self._pending

    def start(self, link: Link) -> None:
        """Begin to write, on this connection as long as it lasts."""
        self._take(link)
        self._task = asyncio.create_task(self._work(), name="store writer")

    async def aclose(self) -> None:
        """Write what was submitted, or fail it if the database cannot be reached, and end."""
        self._closing.set()
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task])
        if self._link is not None:
            self._link.remove_termination_listener(self._lost)
            with suppress(*LOST):
                await self._numbers.forget(self._link, timeout_s=_LONGEST_BACKOFF_S)
                await self._link.close(timeout=_LONGEST_BACKOFF_S)

    def submit(self, commit: Commit) -> None:
        """Have a commit written after those that were submitted before."""
        # That wakes the task after whoever else is about to submit something in this turn of the loop: they come along.
        self._wake.set()
        self._pending.append(commit)

    # --- the connection ---
    def _take(self, link: Link) -> None:
        link.add_termination_listener(self._lost)
        self._link = link

    def _lost(self, link: object) -> None:
        if link is self._link:
            self._drop("the connection was lost")

    def _drop(self, why: str) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.remove_termination_listener(self._lost)
            link.terminate()
        self._hold(f"The database cannot be reached: {why}.")
        self._wake.set()

    async def _connected(self) -> Link:
        if self._link is None:
            self._take(await self._connect())
        assert self._link is not None  # noqa: S101 - for the type checker
        return self._link

    # --- the work ---
    async def _work(self) -> None:
        """Commit what is queued, in its order, however long it takes; without what is at fault itself."""
        backoff_s = _FIRST_BACKOFF_S
        while self._pending or self._unknown is not None or not self._closing.is_set():
            self._wake.clear()
            try:
                link = await self._connected()
                if self._unknown is not None:
                    await self._find_out(link, self._unknown)
                elif self._pending:
                    await self._transact(link, self._pending[: self._size])
                elif not self._closing.is_set():
                    self._note_well()
                    await self._wake.wait()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer to whoever waits for it
                if not await self._recover(error):
                    if self._closing.is_set():
                        self._give_up()
                        return
                    with suppress(TimeoutError):
                        async with asyncio.timeout(backoff_s):
                            await self._closing.wait()
                    backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)
            else:
                backoff_s = _FIRST_BACKOFF_S

    async def _transact(self, link: Link, batch: Sequence[Commit]) -> None:
        async with asyncio.timeout(STATEMENT_S):
            before = await self._numbers.give(link)
            groups = in_groups(batch)
            swift = Swift(batch) if len(groups) == 1 and batch[0].is_plain and not self._is_careful else None
            if swift is not None and swift.is_possible:
                await self._at_once(link, batch, swift, before)
            else:
                await self._in_steps(link, batch, groups, before)

    async def _at_once(self, link: Link, batch: Sequence[Commit], swift: Swift, before: int) -> None:
        """Commit a batch if no guard refuses; else have it done step by step."""
        unknown = _Unknown(self._numbers.latest, link.get_server_pid(), batch, [Outcome.APPLIED] * len(batch))
        self._unknown = unknown
        self._is_careful = True
        try:
            is_signed, is_committed = await swift.run(link, self._numbers.writer, unknown.number, before)
        except Exception as error:
            if is_refusal(error) or _is_rolled_back(error):
                self._unknown = None
            if is_refusal(error):
                return
            raise
        if is_committed:
            self._committed(unknown)
        else:
            self._unknown = None
            self._numbers.signed = before if is_signed else None

    async def _in_steps(
        self, link: Link, batch: Sequence[Commit], groups: Sequence[Sequence[Commit]], before: int
    ) -> None:
        await link.execute("BEGIN")
        outcomes = await Batch(link).run(groups)
        if not await self._numbers.sign(link, before):
            await link.execute("ROLLBACK")
            self._numbers.signed = None
            return
        self._unknown = _Unknown(self._numbers.latest, link.get_server_pid(), batch, outcomes)
        await link.execute("COMMIT")
        self._committed(self._unknown)

    async def _find_out(self, link: Link, unknown: _Unknown) -> None:
        """Learn what became of a batch; raise if it cannot be told yet."""
        try:
            async with asyncio.timeout(STATEMENT_S):
                number = await self._numbers.find_out(link, unknown.number)
        except asyncpg.LockNotAvailableError:
            # Its connection is lost to us only: end it, so that it is one or the other.
            await link.execute("SELECT pg_terminate_backend($1)", unknown.process, timeout=STATEMENT_S)
            msg = "a transaction is still under way"
            raise StoreUnavailableError(msg) from None
        if number == unknown.number:
            self._committed(unknown)
        elif number is None:
            self._numbers.signed = None
            self._settle(unknown.batch, StoreUnavailableError("The database does not know any more what it committed."))
        else:
            self._numbers.signed = self._numbers.latest
            self._unknown = None

    async def _recover(self, error: Exception) -> bool:
        """Make ready to go on; tell whether that may be at once."""
        if self._unknown is not None or self._link is None or not await _rolled_back(self._link):
            self._drop(reason(error))
        elif is_refusal(error):
            self._isolate(error)
            return True
        elif isinstance(error, asyncpg.TransactionRollbackError):  # a deadlock: whoever it was with goes first
            self._size = max(1, min(self._size, len(self._pending)) // 2)
            return True
        elif isinstance(error, asyncpg.ReadOnlySQLTransactionError):  # a standby now: the other one may be reached
            self._drop(reason(error))
        else:
            self._hold(f"The database cannot be written: {reason(error)}.")
        return False

    def _isolate(self, error: Exception) -> None:
        """Try again without NUL, and with less, until what is at fault is alone; that is refused."""
        size = min(self._size, len(self._pending))
        if any([commit.clean() for commit in self._pending[:size]]):  # noqa: C419 - all of them
            return
        if size > 1:
            self._size = size // 2
        else:
            refused = ValueError(f"The database does not take this: {type(error).__name__}: {reason(error)}")
            refused.__cause__ = error
            self._settle(self._pending[:1], refused)

    def _committed(self, known: _Unknown) -> None:
        self.transactions += 1
        self._note_well()
        self._size = _BATCH_MAX
        self._numbers.signed = known.number
        self._is_careful = False
        self._settle(known.batch, None, known.outcomes)
        if any(
            commit.hints and what is Outcome.APPLIED for commit, what in zip(known.batch, known.outcomes, strict=True)
        ):
            self._hinted()

    def _settle(self, batch: Sequence[Commit], error: Exception | None, outcomes: Sequence[Outcome] = ()) -> None:
        """Tell whoever waits for the first that are pending what became of them."""
        self._unknown = None
        del self._pending[: len(batch)]
        for at, commit in enumerate(batch):
            if commit.future.done():
                continue  # Whoever waited was cancelled.
            if error is not None:
                commit.future.set_exception(error)
            else:
                commit.future.set_result(outcomes[at])

    def _note_well(self) -> None:
        if self.trouble:
            self.trouble = ""
            log.info("store_available")

    def _hold(self, trouble: str) -> None:
        if not self.trouble:
            log.warning("store_lost", reason=trouble)
        self.trouble = trouble

    def _give_up(self) -> None:
        what = "Whether the last commits were written is unknown." if self._unknown is not None else ""
        told = f"{self.trouble} Nothing that was confirmed is lost. {what}".strip()
        self._settle(self._pending[:], StoreUnavailableError(told))


def _is_rolled_back(error: Exception) -> bool:
    """Tell whether the database has said that a statement failed, and will go on with the next."""
    return isinstance(error, asyncpg.PostgresError) and getattr(error, "severity_en", None) == "ERROR"


async def _rolled_back(link: Link) -> bool:
    """End what is under way; False if the connection is of no more use."""
    try:
        await link.execute("ROLLBACK", timeout=_LONGEST_BACKOFF_S)
    except LOST:
        return False
    return True
