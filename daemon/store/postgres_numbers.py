"""The numbers of batches on PostgreSQL, of which each leaves its own: the database knows which was committed last."""

from uuid import uuid4

from daemon.store.postgres_link import Link

# What those leave behind that were killed is of no use after a day, and forgotten after a month.
_INTRODUCE = """
    WITH forgotten AS (DELETE FROM batches WHERE at < now() - interval '30 days' AND writer <> $1)
    INSERT INTO batches (writer, number, at) VALUES ($1, $2, now())
    ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = excluded.at"""
_SIGN = "UPDATE batches SET number = $2, at = now() WHERE writer = $1 AND number = $3 RETURNING number"
_LAST = "SELECT number FROM batches WHERE writer = $1 FOR UPDATE NOWAIT"
_FORGET = "DELETE FROM batches WHERE writer = $1"


class Numbers:
    """A writer's row of `batches`.

    Attributes:
        writer: Whose it is.
        latest: The number that was given last.
        signed: The number in the row, as far as is known; None if it has to be made, or made again.
    """

    def __init__(self) -> None:
        self.writer = uuid4().hex
        self.latest = 0
        self.signed: int | None = None

    async def give(self, link: Link) -> int:
        """Give another batch its number, and return that of the one before, which it is to find in the row."""
        if self.signed is None:
            await link.execute(_INTRODUCE, self.writer, self.latest)
            self.signed = self.latest
        self.latest += 1
        return self.signed

    async def sign(self, link: Link, before: int) -> bool:
        """Leave the latest number in the row, within its batch; False if the row has not the one before."""
        return await link.fetchval(_SIGN, self.writer, self.latest, before) is not None

    async def find_out(self, link: Link, unknown: int) -> int | None:
        """Return the number in the row, None if there is no row; if it is not that of the unknown batch, put another.

        So a statement of that batch that arrives later finds another number than it wants, and does nothing.

        Raises:
            asyncpg.LockNotAvailableError: The batch is still under way.
        """
        self.latest += 1
        async with link.transaction():
            number: int | None = await link.fetchval(_LAST, self.writer)
            if number not in (None, unknown):
                await link.execute(_SIGN, self.writer, self.latest, number)
        return number

    async def forget(self, link: Link, *, timeout_s: float) -> None:
        """Delete the row: nothing is written any more."""
        await link.execute(_FORGET, self.writer, timeout=timeout_s)
