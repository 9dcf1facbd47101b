"""What the calculator says of the oracle's timelines."""

from datetime import datetime, timedelta
from itertools import takewhile

from daemon.schedule.cron import Cron
from tests.unit.schedule.oracle import Moment


def calculated(expression: str, zone: str, moments: list[Moment]) -> list[datetime]:
    """Return when the calculator has an expression fire on a timeline."""
    first, last = moments[0].instant, moments[-1].instant
    upcoming = Cron(expression, zone).upcoming(first - timedelta(microseconds=1))
    return list(takewhile(lambda firing: firing <= last, upcoming))
