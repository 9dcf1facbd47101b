"""Whose failure it is that a handler raised: the event's, or that of a service which the handler needs; pure.

Nobody can know. What can be told by the exception's type is: an event that does not fit fails as a wrong value, a
service that is away as a connection or a time that is over. For the rest it is unclear.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from daemon.errors import (
    BrokerUnavailableError,
    PermanentFailure,
    Reject,
    RemoteError,
    StoreUnavailableError,
    WorkflowFailed,
)

_EVENTS_OWN = (Reject, PermanentFailure)
_NOT_AWAY = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
_AWAY = (OSError, EOFError, StoreUnavailableError, BrokerUnavailableError)  # a TimeoutError is an OSError
_WRONG = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)
_WRONG_NAMES = frozenset(kind.__name__ for kind in _WRONG) | {"KeyError", "IndexError", "ValidationError"}
# As libraries call it that do not derive from OSError: ConnectTimeout, OperationalError, ServiceUnavailable.
_AWAY_NAME = re.compile(r"connect|network|operational|time(d_?)?out|transport|unavailable", re.IGNORECASE)
_TOO_MANY, _SERVERS_FAULT = 429, 500
_CHAIN_MAX = 10


class Blame(StrEnum):
    """Who is to blame for what became of an event; `NOBODY`: it went well."""

    NOBODY = "nobody"
    EVENT = "event"
    SERVICE = "service"
    UNCLEAR = "unclear"


def blame(error: BaseException, never_on: tuple[type[BaseException], ...] = ()) -> Blame:
    """Return whose failure an exception is.

    A run's failure is that of its step. An exception that says nothing itself is a service's if the exception that it
    was raised from is.

    Args:
        error: What the handler raised.
        never_on: Exceptions that are final, as the subscriber's policy says: those are the event's.
    """
    if isinstance(error, WorkflowFailed) and error.__cause__ is not None:
        found = blame(error.__cause__, never_on)
    elif isinstance(error, RemoteError):
        found = _by_name(error.type.rpartition(".")[2])
    elif isinstance(error, (*_EVENTS_OWN, *never_on)):
        found = Blame.EVENT
    elif _is_away(error):
        found = Blame.SERVICE
    elif isinstance(error, _WRONG):
        found = Blame.EVENT
    else:
        found = Blame.SERVICE if any(_is_away(cause) for cause in _causes(error)) else Blame.UNCLEAR
    return found


def _causes(error: BaseException) -> Iterator[BaseException]:
    each = error
    for _ in range(_CHAIN_MAX):
        cause = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
        if cause is None:
            return
        yield (each := cause)


def _is_away(error: BaseException) -> bool:
    if isinstance(error, _AWAY):
        return not isinstance(error, _NOT_AWAY)
    if any(_AWAY_NAME.search(kind.__name__) for kind in type(error).__mro__):
        return True
    return _status_of(error) == _TOO_MANY or _status_of(error) >= _SERVERS_FAULT


def _status_of(error: Any) -> int:
    """Return the HTTP status that an exception tells of, as the clients of HTTP attach it; 0 if it tells none."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status"):
            status = getattr(holder, name, None)
            if isinstance(status, int):
                return status
    return 0


def _by_name(name: str) -> Blame:
    if _AWAY_NAME.search(name) or name in ("OSError", "EOFError"):
        return Blame.SERVICE
    return Blame.EVENT if name in _WRONG_NAMES else Blame.UNCLEAR
