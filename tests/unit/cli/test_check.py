"""`sagad check` on an application."""

import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.services.process import free_port
from tests.unit.cli.application import CONFIG, write
from tests.unit.cli.conftest import Sagad


def test_check_shows_what_would_run_and_connects_to_nothing(folder: Path, sagad: Sagad) -> None:
    done = sagad("check", SAGAD_BROKER__URL=f"amqp://shop:geheim@127.0.0.1:{free_port()}")

    assert done.status == 0
    words = " ".join(done.out.split())
    assert "greet customer.created shop.greet 5 attempts, 1 s, x4 10" in words
    assert "nightly 30 2 * * *" in words
    assert "welcome reserve step - release" in words
    assert "shop: 2 subscribers, 1 job, 3 workflows, no services; no mistakes." in words
    assert "nightly.py:5: job 'nightly': '30 2 * * *': Europe/Berlin has no 02:30" in words
    assert "geheim" not in done.out + done.err
    assert not (folder / "var").exists()


def test_check_shows_the_next_three_firings_of_a_job_in_its_zone_and_in_utc(sagad: Sagad) -> None:
    lines = sagad("check").out.splitlines()

    at = next(number for number, line in enumerate(lines) if line.startswith("nightly "))
    shown = re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:00", "\n".join(lines[at : at + 3]))
    moments = [datetime.fromisoformat(moment) for moment in shown]
    assert len(moments) == 6
    for local, utc in zip(moments[::2], moments[1::2], strict=True):
        assert local.replace(tzinfo=ZoneInfo("Europe/Berlin")) == utc.replace(tzinfo=UTC)


def test_check_as_json_is_one_document(sagad: Sagad) -> None:
    report = sagad("check", "--json").document

    assert [each["id"] for each in report["subscribers"]] == ["greet", "audit"]
    assert [len(each["next"]) for each in report["jobs"]] == [3]
    assert [each["name"] for each in report["workflows"]] == ["welcome", "broken", "hanging"]
    assert report["workflows"][0]["where"].startswith("workflows/welcome.py:")
    assert report["warnings"][0]["where"] == "jobs/nightly.py:5"


def test_every_mistake_is_told_at_once_with_its_place(folder: Path, sagad: Sagad) -> None:
    write(folder, "config.toml", '[app]\nname = "shop"\n[broker]\nprefetch = 0\nexchang = "x"\n')
    write(folder, "workflows/second.py", "import daemon\n\nraise RuntimeError('not today')\n")
    write(
        folder,
        "jobs/wrong.py",
        "from daemon import job\n\n\n@job('75 * * * *')\nasync def wrong() -> None:\n    pass\n",
    )

    for name in ("check", "run"):
        done = sagad(name)

        lines = done.err.splitlines()
        assert (done.status, done.out, len(lines)) == (78, "", 4)
        assert lines[0] == "broker.prefetch: must be 1 or more, not 0."
        assert lines[1] == "broker.exchang: is no key of [broker]. Did you mean 'exchange'?"
        assert any(line.startswith("workflows/second.py:3: ") and "not today" in line for line in lines)
        assert any(
            line.startswith("jobs/wrong.py:4: ") and "minute: 75 is not between 0 and 59" in line for line in lines
        )


def test_names_and_schedules_of_the_configuration_are_held_against_the_application(folder: Path, sagad: Sagad) -> None:
    write(
        folder, "config.toml", CONFIG + '[subscribers.gret]\nconcurrency = 2\n[jobs.nightly]\nschedule = "61 * * * *"\n'
    )

    done = sagad("check")

    assert done.status == 78
    assert done.err.splitlines() == [
        "subscribers.gret: no subscriber has this name. Did you mean 'greet'?",
        "jobs.nightly.schedule: minute: 61 is not between 0 and 59",
    ]


def test_no_number_of_the_configuration_is_too_small_for_a_job_and_still_taken(folder: Path, sagad: Sagad) -> None:
    write(folder, "config.toml", CONFIG + "[jobs.nightly]\nevery_s = 0.0001\n")
    too_often = sagad("check")
    write(folder, "config.toml", CONFIG + "[jobs.nightly]\ntimeout_s = 1e-9\n")
    too_short = sagad("check")

    assert (too_often.status, too_short.status) == (78, 78)
    assert "jobs.nightly.every_s: must be 0.001 or more, not 0.0001" in too_often.err
    assert "jobs.nightly: timeout is a timedelta above zero" in too_short.err
