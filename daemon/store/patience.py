"""Waits for a database that is away."""

from collections.abc import Callable

from daemon.clock import Clock
from daemon.errors import StoreUnavailableError
from daemon.log import get_logger
from daemon.store.port import Store

_FIRST_BACKOFF_S = 0.25
_LONGEST_BACKOFF_S = 5.0
log = get_logger(__name__)


async def open_patiently(store: Store, clock: Clock, *, away: Callable[[StoreUnavailableError], object]) -> None:
    """Open a store, however long that takes; the log says so once for each reason.

    Args:
        store: What to open.
        clock: For the time between two attempts.
        away: Called after each attempt that failed.

    Raises:
        StoreVersionError: A newer sagad made the database.
    """
    backoff_s, told = _FIRST_BACKOFF_S, ""
    while True:
        try:
            await store.open()
        except StoreUnavailableError as error:
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
