"""How often to try, and how long to wait in between; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from daemon.errors import DefinitionError

_FOREVER = timedelta(days=365 * 100)
_MAX_DELAY = timedelta(minutes=5)  # this very object stands for one that was left out
_BACKOFF_MAX = 1e6


def backoff_s(attempt: int, *, base_s: float, factor: float, cap_s: float) -> float:
    """Return how long to wait before the next attempt, in seconds, before jitter.

    Args:
        attempt: The attempt that just failed; 1 is the first.
        base_s: Wait after the first failure, in seconds.
        factor: What each further failure multiplies the wait by; 1 keeps it constant.
        cap_s: Longest wait, in seconds.

    Raises:
        ValueError: `attempt` is below 1.
    """
    if attempt < 1:
        msg = f"attempt counts from 1, not {attempt}"
        raise ValueError(msg)
    if base_s <= 0:
        return 0.0
    try:
        wait_s = base_s * factor ** (attempt - 1)
    except OverflowError:
        return cap_s
    return min(wait_s, cap_s)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Retry:
    """How often to try, and how long to wait in between.

    Args:
        max_attempts: How many tries in all, the first included; 1 never retries.
        delay: The wait after the first failure.
        backoff: What each further failure multiplies the wait by; 1 keeps it constant.
        max_delay: The longest wait; left out: 5 minutes, or `delay` if that is longer.
        jitter: The fraction of a wait that is random, 0 to 1: with 0.2 a wait of 10 s becomes 8 to 10 s.
        never_on: Exception types that are final, subclasses included.

    Raises:
        ValueError: A number is out of its range.
        TypeError: `never_on` holds something that is no exception type.
        DefinitionError: `max_delay` is given, and shorter than `delay`.
    """

    max_attempts: int
    delay: timedelta = timedelta(0)
    backoff: float = 1.0
    max_delay: timedelta = _MAX_DELAY
    jitter: float = 0.0
    never_on: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.max_attempts, int) or isinstance(self.max_attempts, bool) or self.max_attempts < 1:
            msg = f"Retry.max_attempts counts the first try and is 1 or more, not {self.max_attempts!r}."
            raise ValueError(msg)
        self._check_waits()
        if not (_is_number(self.backoff) and 1.0 <= self.backoff <= _BACKOFF_MAX):
            msg = f"Retry.backoff multiplies the wait and is 1 or more, not {self.backoff!r}."
            raise ValueError(msg)
        if not (_is_number(self.jitter) and 0.0 <= self.jitter <= 1.0):
            msg = f"Retry.jitter is a fraction between 0 and 1, not {self.jitter!r}."
            raise ValueError(msg)
        given: object = self.never_on
        if not isinstance(given, Iterable) or isinstance(given, str):
            msg = f"Retry.never_on lists exception types, not {given!r}: write never_on=(ValueError,)."
            raise TypeError(msg)
        object.__setattr__(self, "never_on", tuple(given))
        kinds: tuple[object, ...] = self.never_on
        for kind in kinds:
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                msg = f"Retry.never_on lists exception types, not {kind!r}."
                raise TypeError(msg)

    def _check_waits(self) -> None:
        for name in ("delay", "max_delay"):
            value = getattr(self, name)
            if not isinstance(value, timedelta):
                msg = f"Retry.{name} is a timedelta, not {value!r}: write timedelta(seconds=...)."
                raise TypeError(msg)
            if not timedelta(0) <= value <= _FOREVER:
                msg = f"Retry.{name} is between zero and 100 years, not {value}."
                raise ValueError(msg)
        if self.max_delay < self.delay:
            if self.max_delay is not _MAX_DELAY:
                raise DefinitionError(
                    f"Retry.max_delay is the longest wait, and {self.max_delay} is shorter than the first one, delay="
                    f"{self.delay}. Leave max_delay out, or make it longer."
                )
            object.__setattr__(self, "max_delay", self.delay)

    @classmethod
    def never(cls) -> Self:
        """Return the policy of one attempt."""
        return cls(max_attempts=1)

    def allows(self, attempt: int, error: BaseException) -> bool:
        """Tell whether there is another attempt after `attempt` (1 is the first) failed with `error`."""
        return attempt < self.max_attempts and not isinstance(error, self.never_on)

    def wait_s(self, attempt: int, chance: float) -> float:
        """Return the wait after the failed `attempt`, in seconds.

        Args:
            attempt: The attempt that just failed; 1 is the first.
            chance: A random number from 0 to 1; jitter takes that part of itself off the wait.
        """
        wait_s = backoff_s(
            attempt, base_s=self.delay.total_seconds(), factor=self.backoff, cap_s=self.max_delay.total_seconds()
        )
        return wait_s * (1.0 - self.jitter * chance)
