"""The runs that are being started, or made to go on, and that nothing else may begin meanwhile."""

import asyncio


class Starts:
    """Run ids, each from when its run begins to start until it is driven, or is not after all."""

    def __init__(self) -> None:
        self._ended: dict[str, asyncio.Future[None] | None] = {}  # a future as soon as somebody waits for it

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._ended

    def begin(self, run_id: str) -> None:
        """Note a start, once there is no other of this id."""
        self._ended[run_id] = None

    def end(self, run_id: str) -> None:
        """Let go on whoever waits for a start."""
        ended = self._ended.pop(run_id)
        if ended is not None:
            ended.set_result(None)

    async def wait(self, run_id: str) -> None:
        """Return when there is no start of this id; the next may begin before anything else is done."""
        while run_id in self._ended:
            ended = self._ended[run_id]
            if ended is None:
                ended = self._ended[run_id] = asyncio.get_running_loop().create_future()
            await asyncio.wait([ended])
