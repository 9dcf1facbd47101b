"""Log lines: their fields, their context, what they hide, and that writing them never fails."""

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import structlog

from daemon.clock import ManualClock
from daemon.config import LogConfig
from daemon.log import (
    bind,
    canonical_line,
    captured_log,
    configure_logging,
    get_logger,
    set_level,
    unconfigure_logging,
)

log = get_logger("shop.orders")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    unconfigure_logging()


def configured(**config: Any) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(LogConfig(**config), stream, clock=ManualClock(), app="shop")
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_the_documented_keys() -> None:
    stream = configured()

    log.info("run_finished", outcome="ok", duration_ms=1.5)

    assert lines(stream) == [
        {
            "event": "run_finished",
            "timestamp": "2026-01-01T00:00:00.000000Z",
            "level": "info",
            "logger": "shop.orders",
            "app": "shop",
            "outcome": "ok",
            "duration_ms": 1.5,
        }
    ]


def test_what_is_bound_shows_in_every_line_inside_and_in_none_after() -> None:
    stream = configured()

    with bind(run_id="r1", workflow="place-order"):
        with bind(step="charge"):
            log.info("inner")
        log.info("outer", workflow="other")
    log.info("after")

    shown = [{key: line[key] for key in line.keys() & {"run_id", "workflow", "step"}} for line in lines(stream)]
    assert shown == [
        {"run_id": "r1", "workflow": "place-order", "step": "charge"},
        {"run_id": "r1", "workflow": "other"},
        {},
    ]


def test_the_level_can_be_changed_for_loggers_that_exist() -> None:
    stream = configured(level="info")
    applications_own = structlog.get_logger("mine")
    applications_own.info("before")

    log.debug("hidden")
    set_level("debug")
    log.debug("shown")
    applications_own.debug("shown too")
    set_level("error")
    log.warning("hidden again")

    assert [line["event"] for line in lines(stream)] == ["before", "shown", "shown too"]


def test_other_libraries_lines_come_in_the_same_format_and_the_chatty_only_from_warning_on() -> None:
    stream = configured(level="info")

    logging.getLogger("shop.legacy").info("sold %s", 3)
    logging.getLogger("apscheduler.scheduler").info("chatter")
    logging.getLogger("uvicorn.error").warning("slow")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    found = [(line["logger"], line["level"], line["event"]) for line in lines(stream)]
    assert found[:2] == [("shop.legacy", "info", "sold 3"), ("uvicorn.error", "warning", "slow")]
    assert found[2][:2] == ("py.warnings", "warning")
    assert "DeprecationWarning: old" in found[2][2]


def test_an_exception_becomes_error_reason_and_traceback() -> None:
    stream = configured()

    try:
        int("x")
    except ValueError:
        log.exception("step_failed")
        logging.getLogger("other").exception("failed too")
    log.warning("given", exc_info=KeyError("k"))

    first, second, third = lines(stream)
    assert (first["level"], first["error"]) == ("error", "ValueError")
    assert first["reason"] == "invalid literal for int() with base 10: 'x'"
    assert first["traceback"].startswith("Traceback (most recent call last):")
    assert (second["error"], second["reason"]) == (first["error"], first["reason"])
    assert (third["error"], third["traceback"]) == ("KeyError", "KeyError: 'k'")


def test_secrets_are_hidden_wherever_they_stand() -> None:
    stream = configured()

    with bind(broker="amqp://shop:hunter2@host/"):
        error = ConnectionError("no amqp://shop:hunter2@host/")
        log.error("lost postgresql://shop:hunter2@db/x", exc_info=error, api_token="hunter2", deep=[{"password": "a"}])
    logging.getLogger("lib").warning("lost %s", "amqp://shop:hunter2@host/")

    assert "hunter2" not in stream.getvalue()
    assert lines(stream)[0]["deep"] == [{"password": "***"}]
    assert lines(stream)[0]["broker"] == "amqp://shop:***@host/"


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_value_that_is_no_json_never_loses_the_line() -> None:
    stream = configured()
    circle: list[Any] = []
    circle.append(circle)

    log.info("odd", broken=Broken(), nan=float("nan"), raw=b"\xff", when=timedelta(seconds=1), types={int})
    log.info("half", text="\ud800")
    log.info("circle", circle=circle)

    odd, half, circular = lines(stream)
    assert (odd["broken"], odd["nan"]) == ("<Broken>", "nan")
    assert (half["event"], half["text"]) == ("half", "\ud800")
    assert (circular["event"], circular["error"]) == ("log_failed", "RecursionError")


def test_the_console_format_shows_the_same_for_people() -> None:
    stream = configured(format="console")

    try:
        int("x")
    except ValueError:
        log.exception("step_failed", step="charge")

    text = stream.getvalue()
    assert "[error    ] step_failed" in text
    assert "step=charge" in text
    assert text.rstrip().endswith("ValueError: invalid literal for int() with base 10: 'x'")


def test_a_closed_stream_is_no_error() -> None:
    stream = configured()
    stream.close()

    log.info("run_finished")

    assert stream.closed


def test_a_reader_that_goes_away_does_not_end_the_process() -> None:
    program = (
        "import os, sys\n"
        "from daemon.config import LogConfig\n"
        "from daemon.log import configure_logging, get_logger\n"
        "configure_logging(LogConfig())\n"
        "log = get_logger('x')\n"
        "sys.stdin.read()\n"
        "for n in range(3): log.info('line', n=n)\n"
        "sys.exit(7)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()

    _, errors = process.communicate()

    assert (process.returncode, errors) == (7, b"")


def test_before_it_is_configured_warnings_go_to_stderr_and_the_rest_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    log.info("quiet")
    log.warning("loud")

    out, err = capsys.readouterr()
    assert (out, json.loads(err)["event"]) == ("", "loud")


def test_captured_entries_of_every_level_are_kept_and_not_written() -> None:
    stream = configured(level="error")

    with captured_log() as entries:
        log.debug("step_finished", step="charge")
    log.debug("hidden")

    assert [(entry["event"], entry["step"]) for entry in entries] == [("step_finished", "charge")]
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, {"outcome": "ok"}),
        (KeyError("sku"), {"outcome": "failed", "error": "KeyError", "reason": "'sku'"}),
        (asyncio.CancelledError(), {"outcome": "cancelled"}),
    ],
)
async def test_the_canonical_line_tells_ids_outcome_and_duration(
    error: BaseException | None, expected: dict[str, str]
) -> None:
    stream, clock = configured(), ManualClock()

    with pytest.raises(type(error)) if error else bind():
        async with canonical_line(
            "event_handled", clock, log=get_logger("shop.orders"), subscriber="hello", attempt=2
        ) as fields:
            fields["event_id"] = "e1"
            clock.advance(timedelta(milliseconds=12.34))
            if error:
                raise error

    (line,) = lines(stream)
    assert line.items() >= {"event": "event_handled", "subscriber": "hello", "attempt": 2, "event_id": "e1"}.items()
    assert line["logger"] == "shop.orders"
    assert line.items() >= {"duration_ms": 12.3, **expected}.items()


async def test_an_outcome_that_the_block_sets_is_kept() -> None:
    stream = configured()

    async with canonical_line("event_handled", ManualClock(), log=log) as fields:
        fields["outcome"] = "parked"

    assert lines(stream)[0]["outcome"] == "parked"


def test_stdout_is_where_lines_go_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogConfig())

    log.info("run_finished")

    assert json.loads(capsys.readouterr().out)["event"] == "run_finished"
    assert os.environ.get("SAGAD_LOG__LEVEL") is None
