"""Waits for a database that is away when the daemon starts."""

from collections.abc import Awaitable, Callable

from daemon.clock import Clock
from daemon.errors import StoreUnavailableError
from daemon.log import get_logger

_FIRST_BACKOFF_S = 0.25
_LONGEST_BACKOFF_S = 5.0
log = get_logger(__name__)


async def patiently(
    attempt: Callable[[], Awaitable[object]], clock: Clock, *, away: Callable[[StoreUnavailableError], object] | None
) -> None:
    """Do something that needs the store, however long that takes; the log says so once for each reason.

    Args:
        attempt: What is done, again and again until it succeeds.
        clock: For the time between two attempts.
        away: Called after each attempt that failed; without it, the first failure is raised.
    """
    backoff_s, told = _FIRST_BACKOFF_S, ""
    while True:
        try:
            await attempt()
        except StoreUnavailableError as error:
            if away is None:
                raise
            if str(error) != told:
                told = str(error)
                log.warning("store_unavailable", reason=told)
            away(error)
            await clock.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)
        else:
            if told:
                log.info("store_available")
            return
