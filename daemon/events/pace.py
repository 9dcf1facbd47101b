"""So many a second, and no more."""

from daemon.clock import Clock


class Pace:
    """Gives turns at even intervals; who was slow does not catch up.

    Args:
        per_s: How many turns a second, above 0.
    """

    def __init__(self, clock: Clock, per_s: float) -> None:
        self._clock = clock
        self._every_s = 1 / per_s
        self._next_s = 0.0

    async def turn(self) -> None:
        """Return when it is time for the next; the first time at once."""
        now_s = self._clock.monotonic_s()
        if self._next_s > now_s:
            await self._clock.sleep(self._next_s - now_s)
        self._next_s = max(self._next_s, now_s) + self._every_s
