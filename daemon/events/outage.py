"""What is tried again for as long as the store or the broker is away."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from daemon.clock import Clock
from daemon.errors import BrokerUnavailableError, StoreUnavailableError
from daemon.log import get_logger

_WAIT_S = (0.05, 5.0)  # the first and the longest

_log = get_logger(__name__)

T = TypeVar("T")


async def patiently(
    attempt: Callable[[], Awaitable[T]],
    *,
    clock: Clock,
    hurry: Callable[[], bool] = lambda: False,
    failed: Exception | None = None,
) -> T:
    """Return what `attempt` returns, tried again for as long as the store or the broker is away.

    Args:
        attempt: What is tried.
        clock: Waits between two tries.
        hurry: Tells whether there is no time to wait.
        failed: How the first try has failed, if the caller has made that: most succeed, and need nothing of this.

    Raises:
        StoreUnavailableError, BrokerUnavailableError: It is away, and `hurry()` says that there is no time to wait.
    """
    wait_s, longest_s = _WAIT_S
    while True:
        if failed is None:
            try:
                return await attempt()
            except (StoreUnavailableError, BrokerUnavailableError) as error:
                failed = error
        if hurry():
            raise failed
        _log.debug("outage_waits", reason=str(failed), delay_s=wait_s)
        failed = None
        await clock.sleep(wait_s)
        wait_s = min(wait_s * 2, longest_s)
