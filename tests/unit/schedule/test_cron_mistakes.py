from datetime import UTC, datetime

import pytest

from daemon.errors import CronError, DefinitionError
from daemon.schedule.cron import Cron

REFUSED = {
    "75 * * * *": "minute: 75 is not between 0 and 59",
    "* 24 * * *": "hour: 24 is not between 0 and 23",
    "* * 0 * *": "day of month: 0 is not between 1 and 31",
    "* * * 13 *": "month: 13 is not between 1 and 12",
    "* * * * 8": "day of week: 8 is not between 0 and 7",
    "60 * * * * *": "second: 60 is not between 0 and 59",
    "0-75/5 * * * *": "minute: 75 is not between 0 and 59",
    "a * * * *": "minute: 'a' is not a number between 0 and 59.",
    "0 0 * * monday": (
        "day of week: 'monday' is not a number between 0 and 7 or one of sun, mon, tue, wed, thu, fri, sat. Did "
        "you mean 'mon'?"
    ),
    "0 0 * jam *": (
        "month: 'jam' is not a number between 1 and 12 or one of jan, feb, mar, apr, may, jun, jul, aug, sep, oct,"
        " nov, dec. Did you mean 'jan'?"
    ),
    "1,,2 * * * *": "minute: '1,,2' has an empty item",
    "*/0 * * * *": "minute: the step of '*/0' is not a whole number above 0",
    "*/ * * * *": "minute: the step of '*/' is not a whole number above 0",
    "*/x * * * *": "minute: the step of '*/x' is not a whole number above 0",
    "-5 * * * *": "minute: the range '-5' has two ends; write 0-59, for example",
    "² * * * *": "minute: '²' is not a number between 0 and 59.",
    "5/15 * * * *": "minute: 5/15 has no end; write 5-59/15",
    "0 22-2 * * *": "hour: 22-2 wraps around; write 22-23,0-2",
    "0 22-2/3 * * *": "hour: 22-2/3 wraps around; write 22,1",
    "0 0 * * fri-mon": "day of week: fri-mon wraps around; write fri-sat,sun-mon",
    "0 0 * * fri-sun": "day of week: fri-sun wraps around; write fri-sat,sun",
    "0 0 * nov-feb *": "month: nov-feb wraps around; write nov-dec,jan-feb",
    "0 0 * * mon#2": (
        "day of week: mon#2 is not cron's (# is of other schedulers); name the days it can be, such as 8-14 in day"
        " of month, and check the weekday in the handler"
    ),
    "0 0 L * *": (
        "day of month: L is not cron's (L is of other schedulers); write 28-31 in day of month, and check in the "
        "handler that tomorrow is another month"
    ),
    "0 0 * * friL": (
        "day of week: friL is not cron's (L is of other schedulers); write 28-31 in day of month, and check in the"
        " handler that tomorrow is another month"
    ),
    "0 0 15W * *": (
        "day of month: 15W is not cron's (W is of other schedulers); write mon-fri in day of week, and check the "
        "day in the handler"
    ),
    "0 0 LW * *": (
        "day of month: LW is not cron's (LW is of other schedulers); write 28-31 in day of month, and check the "
        "day in the handler"
    ),
    "0 0 ? * *": "day of month: ? is not cron's; write *",
    "@reboot": (
        "@reboot names no time: daemons start at different times, and again after every upgrade; run it before the"
        " daemon (ExecStartPre= in its systemd unit), or at a time, such as @hourly"
    ),
    "@Daily": "@Daily is not known; for an interval give a timedelta. Did you mean '@daily'?",
    "@every 5m": (
        "@every 5m is not known; for an interval give a timedelta. Known are @yearly, @annually, @monthly, "
        "@weekly, @daily, @midnight, @hourly."
    ),
    "* * *": (
        "'* * *' has 3 fields; write five (minute, hour, day of month, month, day of week), or six with the second"
        " in front"
    ),
    "0 0 0 1 1 ? 2030": (
        "'0 0 0 1 1 ? 2030' has 7 fields; write five (minute, hour, day of month, month, day of week), or six with"
        " the second in front"
    ),
    "1," * 600 + "1 * * * *": "a cron expression has at most 1,000 characters, not 1,209",
    "0 0 31 2 *": "day of month: 31 does not come in feb, so it can never fire",
    "0 0 31 2,4,6 *": "day of month: 31 does not come in feb, apr, jun, so it can never fire",
    "0 0 30,31 2 */2": "day of month: 30,31 does not come in feb, so it can never fire",
}


@pytest.mark.parametrize(("expression", "wanted"), list(REFUSED.items()))
def test_what_cron_does_not_know_is_an_error_that_points_at_the_field(expression: str, wanted: str) -> None:
    with pytest.raises(CronError) as caught:
        Cron(expression)

    assert str(caught.value) == wanted
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, DefinitionError)


def test_a_time_that_every_clock_change_skips_can_never_fire() -> None:
    # Sundays the 31st of March (one day field starts with `*`, so both have to match) are all days of a change.
    expression = "* 2 31 3 */7"

    assert next(Cron(expression, "UTC").upcoming(datetime(2026, 1, 1, tzinfo=UTC))).year == 2030
    with pytest.raises(CronError, match="can never fire in Europe/Berlin: clock changes skip every time that it names"):
        Cron(expression, "Europe/Berlin")


@pytest.mark.parametrize(
    ("zone", "wanted"),
    [
        ("europe/berlin", "timezone: 'europe/berlin' is not known. Did you mean 'Europe/Berlin'?"),
        ("Europe/Berln", "timezone: 'Europe/Berln' is not known. Did you mean 'Europe/Berlin'?"),
        ("tokyo", "timezone: 'tokyo' is not known. Did you mean 'Asia/Tokyo'?"),
        ("", "timezone: '' is not known. Write an IANA name, such as Europe/Berlin."),
        ("../etc/passwd", "timezone: '../etc/passwd' is not known. Write an IANA name, such as Europe/Berlin."),
    ],
)
def test_an_unknown_zone_gets_a_did_you_mean(zone: str, wanted: str) -> None:
    with pytest.raises(CronError) as caught:
        Cron("0 0 * * *", zone)

    assert str(caught.value) == wanted


def test_a_folder_of_zones_is_no_zone() -> None:
    with pytest.raises(CronError, match="timezone: 'Europe' is not known"):
        Cron("0 0 * * *", "Europe")


@pytest.mark.parametrize(
    ("expression", "zone", "wanted"),
    [
        ("0 3 * * *", "Europe/Berlin", []),
        ("30 2 * * *", "UTC", []),
        ("30 2 * * mon", "Europe/Berlin", []),
        ("*/5 * * * *", "Europe/Berlin", []),
        ("0 0 */2 * fri", "UTC", []),
        (
            "30 2 * * *",
            "Europe/Berlin",
            ["'30 2 * * *': Europe/Berlin has no 02:30 on 2026-03-29, it fires at 03:00"],
        ),
        (
            "*/15 2 * * *",
            "Europe/Berlin",
            ["'*/15 2 * * *': Europe/Berlin has no 02:00 on 2026-03-29, it does not fire then"],
        ),
        (
            "0 0 * * *",
            "America/Santiago",
            ["'0 0 * * *': America/Santiago has no 00:00 on 2026-09-06, it fires at 01:00"],
        ),
        (
            "0 9 13 * fri",
            "UTC",
            [
                (
                    "'0 9 13 * fri' restricts both day of month and day of week: it fires on days that match either, "
                    "not only on those that match both"
                )
            ],
        ),
    ],
)
def test_what_is_legal_and_probably_not_meant_is_warned_of(expression: str, zone: str, wanted: list[str]) -> None:
    assert Cron(expression, zone).warnings(datetime(2026, 1, 1, tzinfo=UTC)) == wanted
