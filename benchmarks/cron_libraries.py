"""The cron calculators of others, each as an iterator of firing times; for `cron_next` and `cron_peers`.

APScheduler is there already. croniter and cronsim are installed into .bench/cron, once.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from daemon.schedule.cron import Cron

FOLDER = Path(__file__).resolve().parent.parent / ".bench" / "cron"
PINNED = ("croniter==7.0.0", "cronsim==2.8")
_SOON = timedelta(milliseconds=1)

Firings = Callable[[str, str, datetime], Iterator[Any]]


def install() -> None:
    """Have the peers importable; what the project itself has installed comes first."""
    made = FOLDER / f".{'-'.join(PINNED)}"
    if not made.exists():
        print("installing croniter and cronsim into .bench/cron (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "pip", "install", "-qq", "--target", FOLDER, *PINNED], check=True)
        made.touch()
    sys.path.append(str(FOLDER))


def sagad(expression: str, zone: str, after: datetime) -> Iterator[datetime]:
    """Go on with one iterator."""
    return Cron(expression, zone).upcoming(after)


def sagad_afresh(expression: str, zone: str, after: datetime) -> Iterator[datetime]:
    """Ask anew for every firing, as a timer does."""
    cron = Cron(expression, zone)
    while True:
        after = next(cron.upcoming(after))
        yield after


def croniter(expression: str, zone: str, after: datetime) -> Iterator[datetime]:
    """Go on with one iterator; a sixth field stands in front."""
    peer = import_module("croniter").croniter
    start = after.astimezone(ZoneInfo(zone))
    return iter(peer(expression, start, ret_type=datetime, second_at_beginning=True))


def cronsim(expression: str, zone: str, after: datetime) -> Iterator[datetime]:
    """Go on with one iterator."""
    return iter(import_module("cronsim").CronSim(expression, after.astimezone(ZoneInfo(zone))))


def apscheduler(expression: str, zone: str, after: datetime) -> Iterator[datetime]:
    """Ask its trigger after every firing, as its scheduler does a moment later."""
    trigger_of = import_module("apscheduler.triggers.cron").CronTrigger
    names = ("second", "minute", "hour", "day", "month", "day_of_week")
    fields = expression.split()
    if len(fields) == len(names):
        trigger = trigger_of(**dict(zip(names, fields, strict=True)), timezone=zone)
    else:
        trigger = trigger_of.from_crontab(expression, timezone=zone)
    firing = trigger.get_next_fire_time(None, after.astimezone(UTC) + timedelta(microseconds=1))
    while firing is not None:
        yield firing
        firing = trigger.get_next_fire_time(firing, firing.astimezone(UTC) + _SOON)


PEERS: dict[str, Firings] = {"APScheduler": apscheduler, "croniter": croniter, "cronsim": cronsim}
