"""What becomes of a delivery: how it is settled, and what its one line in the log says; pure."""

import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from daemon.errors import BrokerUnavailableError, Reject, RetryAfter, RunNotCompleted, StoreUnavailableError
from daemon.events.blame import Blame, blame
from daemon.events.bus import Delivery
from daemon.events.model import DeadReason
from daemon.events.payload import BadPayloadError
from daemon.retry import Retry

TRACEBACK_MAX_BYTES = 8_192
ERROR_MAX = 4_000
_OURS_AWAY_S = 2.0  # a handler that failed because our own store or broker is away tries again after this


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one handling of an event ended.

    Attributes:
        line: The log's event.
        outcome: The line's outcome.
        settle: Settles one delivery accordingly.
        handled: Whether the subscriber is done with the event for good.
        blame: Whose failure it was, if it was one; None if that tells nothing of how the handler fares.
        fields: What else the line says: `error`, `reason`, `delay_s`, `traceback`.
    """

    line: str
    outcome: str
    settle: Callable[[Delivery], Awaitable[bool]]
    handled: bool = False
    blame: Blame | None = None
    fields: Mapping[str, object] = field(default_factory=dict)


def _ack(delivery: Delivery) -> Awaitable[bool]:
    return delivery.ack()


OK = Verdict("event_handled", "ok", _ack, handled=True, blame=Blame.NOBODY)
DUPLICATE = Verdict("event_handled", "duplicate", _ack, handled=True)
# A binding that is gone from the code, but not yet from the broker.
IGNORED = Verdict("event_handled", "ignored", _ack)
RELEASED = Verdict("event_handled", "cancelled", lambda delivery: delivery.release())
_TAKEN_OVER = "another process has this event: our lease had run out"
TAKEN_OVER = replace(RELEASED, outcome="taken_over", fields={"reason": _TAKEN_OVER})
GIVEN_BACK = RELEASED, TAKEN_OVER


def parked(error: RunNotCompleted) -> Verdict:
    """The handler asked for the result of a run that goes on without it: the event is accepted."""
    fields = {"run_id": error.run_id}
    return Verdict("event_handled", "parked", _ack, handled=True, blame=Blame.NOBODY, fields=fields)


def of_error(error: BaseException, retry: Retry, attempt: int, chance: float) -> Verdict:
    """Return what becomes of a delivery whose handling raised in its given attempt.

    `RetryAfter`, and our own store or broker being away, are not the event's failure: the same attempt again. `chance`
    is for the jitter, 0 to 1.
    """
    match error:
        case BadPayloadError():
            return dead(error.reason, str(error))
        case Reject():
            return replace(dead(DeadReason.REJECTED, error), blame=Blame.EVENT)
        case RetryAfter():
            return _again("postponed", error.delay.total_seconds(), attempt, describe(error))
        case StoreUnavailableError() | BrokerUnavailableError():
            return _again("postponed", _OURS_AWAY_S, attempt, describe(error))
    whose = blame(error, retry.never_on)
    if retry.allows(attempt, error):
        again = _again("retried", retry.wait_s(attempt, chance), attempt + 1, describe(error))
        # Who watches the first failure must not have to wait for the dead letter to learn where it was.
        return replace(again, blame=whose, fields={**again.fields, "traceback": traceback_of(error)})
    return replace(dead(DeadReason.ATTEMPTS_EXHAUSTED, error), blame=whose)


def postponed(verdict: Verdict, delay_s: float, attempt: int) -> Verdict:
    """Return what becomes of a delivery instead whose failure is not to be counted: the same attempt again."""
    return _again("postponed", delay_s, attempt, str(verdict.fields.get("error", "")))


def dead(reason: DeadReason, error: BaseException | str) -> Verdict:
    """Given up, with its reason; an exception with its traceback."""
    if isinstance(error, str):
        text, trace = _storable(error[:ERROR_MAX]), ""
    else:
        text, trace = describe(error), traceback_of(error)
    return Verdict(
        "event_dead_lettered",
        "dead_lettered",
        lambda delivery: delivery.dead_letter(reason, error=text, traceback=trace),
        fields={"reason": str(reason), "error": text} | ({"traceback": trace} if trace else {}),
    )


def describe(error: BaseException) -> str:
    """Return an exception's type and message, at most 4,000 characters."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - a broken __str__ must not cost the event
        message = "(its message cannot be read)"
    name = type(error).__qualname__
    return _storable(f"{name}: {message}"[:ERROR_MAX] if message else name)


def traceback_of(error: BaseException) -> str:
    """Return an exception's traceback, at most 8 KiB; what is cut off is the beginning."""
    try:
        text = _storable("".join(traceback.format_exception(error)))
    except Exception:  # noqa: BLE001 - as above
        return ""
    encoded = text.encode()
    if len(encoded) <= TRACEBACK_MAX_BYTES:
        return text
    return "..." + encoded[-TRACEBACK_MAX_BYTES + 3 :].decode(errors="ignore")


def _storable(text: str) -> str:
    """Return text without what neither databases nor brokers take: half a surrogate pair, and the character 0."""
    return text.encode(errors="backslashreplace").decode().replace("\x00", "\\x00")


def _again(outcome: str, delay_s: float, attempt: int, text: str) -> Verdict:
    return Verdict(
        "event_retried",
        outcome,
        lambda delivery: delivery.retry(delay_s, attempt=attempt, error=text),
        fields={"error": text, "delay_s": round(delay_s, 3)},
    )
