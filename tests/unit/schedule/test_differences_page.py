"""What the page on other calculators says that cron does, held against the calculator."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from daemon.schedule.cron import Cron

PAGE = Path(__file__).parents[3] / "docs" / "cron-differences.md"
_ROW = re.compile(
    r"^\| (?P<what>[^|]+) \| `(?P<expression>[^`]+)` \| (?P<zone>[\w/]+) \| (?P<due>[^|]*) \| (?P<instead>[^|]*) \|$"
)
ROWS = [found for line in PAGE.read_text().splitlines() if (found := _ROW.match(line))]


def moments(cell: str) -> list[datetime]:
    found = re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?[+-]\d{4}", cell)
    return [datetime.fromisoformat(each).astimezone(UTC) for each in found]


def fires(row: re.Match[str], moment: datetime) -> bool:
    return next(Cron(row["expression"], row["zone"]).upcoming(moment - timedelta(microseconds=1))) == moment


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['what']} {row['expression']}")
def test_a_difference_is_one_from_what_cron_does(row: re.Match[str]) -> None:
    due, instead = moments(row["due"]), moments(row["instead"])
    goes_back = instead != sorted(set(instead))

    assert due or instead
    assert all(fires(row, moment) for moment in due)
    assert goes_back or not any(fires(row, moment) for moment in instead)


def test_every_library_is_in_the_table_of_differences() -> None:
    assert {row["what"].partition(":")[0] for row in ROWS} == {"APScheduler", "croniter", "cronsim"}
