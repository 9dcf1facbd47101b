"""What a calculator of firing times is, and the one of intervals; pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from daemon.errors import DefinitionError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHORTEST = timedelta(milliseconds=1)


class Timetable(Protocol):
    """When something fires.

    It depends on its definition alone: every process, before and after a restart, gets the same times.
    """

    def upcoming(self, after: datetime) -> Iterator[datetime]:
        """Iterate the firing times strictly after an aware datetime, in order, as aware UTC datetimes.

        Raises:
            ValueError: `after` is naive.
        """


@dataclass(frozen=True, slots=True)
class Interval:
    """Firings at whole multiples of an interval since the epoch, so that they keep their phase over restarts.

    Args:
        every: The interval, one millisecond or more.
        starts_at: Count from this aware datetime instead, which is the first firing.

    Raises:
        DefinitionError: `every` is too short, or `starts_at` is naive.
    """

    every: timedelta
    starts_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.every < _SHORTEST:
            raise DefinitionError(f"an interval is one millisecond or longer, not {self.every}")
        if self.starts_at is not None:
            require_aware("starts_at", self.starts_at)

    def upcoming(self, after: datetime) -> Iterator[datetime]:
        """Iterate the firing times strictly after an aware datetime, as aware UTC datetimes, without end.

        Raises:
            ValueError: `after` is naive.
        """
        if after.tzinfo is None:
            raise ValueError(f"upcoming takes an aware datetime, not {after}; add tzinfo=UTC.")
        start = (self.starts_at or _EPOCH).astimezone(UTC)
        count = (after - start) // self.every + 1
        return self._iterate(start + self.every * (count if self.starts_at is None else max(0, count)))

    def _iterate(self, firing: datetime) -> Iterator[datetime]:
        while True:
            yield firing
            firing += self.every


def require_aware(name: str, moment: datetime) -> None:
    """Refuse a datetime without a time zone.

    Raises:
        DefinitionError: `moment` is naive.
    """
    if moment.tzinfo is None:
        raise DefinitionError(f"{name} needs a time zone: write {name}=datetime(..., tzinfo=UTC), not {moment!r}")
