from datetime import timedelta

import pytest

from daemon.errors import Reject, RetryAfter
from daemon.events.model import DeadReason
from daemon.events.payload import BadPayloadError
from daemon.events.verdict import of_error
from daemon.retry import Retry

TWICE = Retry(max_attempts=2)


def raised(error: Exception) -> Exception:
    """Return the error with the traceback that raising it gives."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_the_line_of_a_first_failure_says_where_the_handler_raised() -> None:
    verdict = of_error(raised(KeyError("sku")), TWICE, 1, 0.5)

    assert (verdict.line, verdict.fields["error"]) == ("event_retried", "KeyError: 'sku'")
    assert f"{__file__}" in str(verdict.fields["traceback"])


def test_the_line_of_the_last_failure_says_where_the_handler_raised() -> None:
    verdict = of_error(raised(KeyError("sku")), TWICE, 2, 0.5)

    assert (verdict.line, verdict.fields["reason"]) == ("event_dead_lettered", "attempts_exhausted")
    assert f"{__file__}" in str(verdict.fields["traceback"])


def test_what_is_no_failure_of_the_handler_has_no_traceback() -> None:
    postponed = of_error(raised(RetryAfter(timedelta(seconds=1))), TWICE, 1, 0.5)
    misfit = of_error(raised(BadPayloadError(DeadReason.INVALID_PAYLOAD, "id: Field required")), TWICE, 1, 0.5)

    assert "traceback" not in postponed.fields
    assert "traceback" not in misfit.fields


def test_a_rejection_is_dead_at_its_first_attempt() -> None:
    verdict = of_error(raised(Reject("unknown customer")), TWICE, 1, 0.5)

    assert (verdict.line, verdict.fields["reason"]) == ("event_dead_lettered", "rejected")
    assert verdict.fields["error"] == "Reject: unknown customer"
