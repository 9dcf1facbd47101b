"""Claims of which it is not known whether they were committed: the connection was lost while they were on their way.

If they were, what was claimed is ours, and as long as this process lives nobody else takes it. So the next claim of the
same kind first looks what has become of the last one.
"""

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from daemon.store.postgres_link import Link

R = TypeVar("R")
Call = Callable[[Callable[[Link], Awaitable[list[Any]]]], Awaitable[list[Any]]]


class Claims:
    """Claims so that nothing that was claimed is lost sight of.

    Args:
        call: Has a function work in a transaction of its own.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._lost: dict[Hashable, list[Any]] = {}

    async def make(
        self,
        kind: Hashable,
        claim: Callable[[Link], Awaitable[list[R]]],
        still_ours: Callable[[Link, list[R]], Awaitable[list[R]]],
    ) -> list[R]:
        """Return what is claimed now, or was claimed the last time without anybody knowing.

        Args:
            kind: What the claims have in common that are looked at.
            claim: Claims.
            still_ours: Returns those of what was claimed that are this process's, once that is decided.
        """
        lost: list[R] = self._lost.get(kind, [])
        claimed: list[R] = []

        async def work(link: Link) -> list[R]:
            claimed[:] = await still_ours(link, lost) if lost else []
            claimed[:] = claimed or await claim(link)
            return claimed

        try:
            await self._call(work)
        except BaseException:
            if claimed:
                self._lost[kind] = claimed
            raise
        self._lost.pop(kind, None)
        return claimed
