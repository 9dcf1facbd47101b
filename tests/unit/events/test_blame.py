"""Whose failure an exception is."""

import asyncio
import socket
import ssl
from datetime import timedelta
from typing import Any

import pytest

from daemon.errors import PermanentFailure, Reject, RemoteError, StepTimeout, StoreUnavailableError, WorkflowFailed
from daemon.events.blame import Blame, blame

A_RUN: Any = None  # which one it was tells nothing


class OrderRefusedError(Exception):
    """What an application defines."""


class ServiceUnavailable(Exception):  # noqa: N818 - as clients call it
    """What a client defines."""


class HttpStatusError(Exception):
    """What a client of HTTP raises, with its response."""

    def __init__(self, status: Any) -> None:
        self.response = type("Response", (), {"status_code": status})()


def raised_from(cause: BaseException) -> Exception:
    error = OrderRefusedError("no stock")
    error.__cause__ = cause
    return error


def of_a_run(cause: BaseException) -> WorkflowFailed:
    failed = WorkflowFailed(A_RUN, "charge-card failed")
    failed.__cause__ = cause
    return failed


@pytest.mark.parametrize(
    ("error", "whose"),
    [
        (ConnectionRefusedError(), Blame.SERVICE),
        (TimeoutError(), Blame.SERVICE),
        (socket.gaierror(), Blame.SERVICE),
        (ssl.SSLCertVerificationError(), Blame.SERVICE),
        (asyncio.IncompleteReadError(b"", 1), Blame.SERVICE),
        (StoreUnavailableError(), Blame.SERVICE),
        (ServiceUnavailable(), Blame.SERVICE),
        (HttpStatusError(503), Blame.SERVICE),
        (HttpStatusError(429), Blame.SERVICE),
        (raised_from(ConnectionResetError()), Blame.SERVICE),
        (of_a_run(TimeoutError()), Blame.SERVICE),
        (of_a_run(RemoteError("httpx.ConnectTimeout", "")), Blame.SERVICE),
        (of_a_run(RemoteError("builtins.OSError", "")), Blame.SERVICE),
        (ValueError("a wrong value"), Blame.EVENT),
        (KeyError("id"), Blame.EVENT),
        (AssertionError(), Blame.EVENT),
        (Reject("no"), Blame.EVENT),
        (PermanentFailure("card refused"), Blame.EVENT),
        (of_a_run(TypeError()), Blame.EVENT),
        (of_a_run(RemoteError("builtins.KeyError", "")), Blame.EVENT),
        (FileNotFoundError("template.html"), Blame.UNCLEAR),
        (RuntimeError("?"), Blame.UNCLEAR),
        (OrderRefusedError(), Blame.UNCLEAR),
        (HttpStatusError(404), Blame.UNCLEAR),
        (HttpStatusError(None), Blame.UNCLEAR),
        (raised_from(KeyError()), Blame.UNCLEAR),
        (of_a_run(RemoteError("shop.OrderRefused", "")), Blame.UNCLEAR),
        (WorkflowFailed(A_RUN, "cancelled"), Blame.UNCLEAR),
    ],
)
def test_whose_failure_it_is_shows_in_the_exception_and_in_what_caused_it(error: Exception, whose: Blame) -> None:
    assert blame(error) is whose


def test_what_the_subscriber_never_retries_is_the_events_own() -> None:
    assert blame(ConnectionError(), (ConnectionError,)) is Blame.EVENT


def test_a_step_that_takes_too_long_is_the_services_failure() -> None:
    assert blame(StepTimeout("charge-card", timedelta(seconds=1))) is Blame.SERVICE


def test_a_suppressed_cause_says_nothing() -> None:
    error = OrderRefusedError()
    error.__context__ = ConnectionResetError()
    shown = blame(error)

    error.__suppress_context__ = True

    assert (shown, blame(error)) == (Blame.SERVICE, Blame.UNCLEAR)
