"""Answers: JSON, and errors as problem details (RFC 9457)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.responses import Response

from daemon.errors import (
    BrokerUnavailableError,
    CodecError,
    DaemonError,
    JobNotFound,
    JobStateError,
    PayloadTooLargeError,
    RunExists,
    RunNotFound,
    RunStateError,
    StoreUnavailableError,
)
from daemon.redact import text_of

PROBLEM_TYPE = "application/problem+json"
_ERRORS_MAX = 100
RETRY = {"retry-after": "1"}
# Errors whose own sentence is for the client, too.
_STATUS_OF: Mapping[type[DaemonError], HTTPStatus] = {
    RunNotFound: HTTPStatus.NOT_FOUND,
    RunExists: HTTPStatus.CONFLICT,
    RunStateError: HTTPStatus.CONFLICT,
    JobNotFound: HTTPStatus.NOT_FOUND,
    JobStateError: HTTPStatus.CONFLICT,
    PayloadTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    CodecError: HTTPStatus.UNPROCESSABLE_ENTITY,
}
# Those that tell of our own insides.
_UNAVAILABLE: Mapping[type[DaemonError], str] = {
    BrokerUnavailableError: "The broker does not answer at the moment. Send it again, with the same id.",
    StoreUnavailableError: "The daemon is stopping, or its store does not answer. Ask again, with the same id.",
}


class JsonResponse(Response):
    """Plain data as JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=text_of)
        # Half a surrogate pair, from a traceback for instance, has no bytes; Python's escape of it is JSON's.
        return text.encode(errors="backslashreplace")


class ProblemResponse(JsonResponse):
    """An error as problem details."""

    media_type = PROBLEM_TYPE

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        content: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
        }
        if errors:
            content["errors"] = [{"field": field, "message": message} for field, message in errors[:_ERRORS_MAX]]
        super().__init__(content, status, headers)


class Refusal(HTTPException):
    """Raise to answer with problem details.

    Args:
        status: The status code.
        detail: What is wrong and what to do, without values of the request.
        errors: What is wrong with which field.
    """

    def __init__(self, status: int, detail: str, errors: Sequence[tuple[str, str]] = ()) -> None:
        self.errors = errors
        super().__init__(status, detail)


def unprocessable(errors: Sequence[tuple[str, str]]) -> Refusal:
    """Return the refusal of a request with these wrong fields."""
    count = len(errors)
    detail = f"{count} field{'s are' if count > 1 else ' is'} wrong: {', '.join(field for field, _ in errors[:10])}."
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors)


def wrong_fields(errors: Iterable[ErrorDetails], within: str = "") -> list[tuple[str, str]]:
    """Return validation errors as fields and messages, without the values.

    Args:
        errors: As pydantic lists them.
        within: The field that was validated; left out: the first part of a location says where it came from.
    """
    found = []
    for error in errors:
        where = (within, *error["loc"]) if within else error["loc"][1:] or error["loc"]
        message = error["msg"].removeprefix("Value error, ")
        if error["type"].startswith("union_tag_invalid"):
            message = f"Must be one of {error['ctx']['expected_tags']}"  # pydantic's own shows the value
        found.append((".".join(map(str, where)), message))
    return found


async def answer_refusal(_: Request, error: HTTPException) -> Response:
    """Answer what the API or the framework refuses."""
    if isinstance(error, Refusal):
        return ProblemResponse(error.status_code, error.detail, errors=error.errors)
    detail = f"{error.detail}: /api/openapi.json says what there is."
    return ProblemResponse(error.status_code, detail, headers=error.headers)


async def answer_invalid(_: Request, error: RequestValidationError) -> Response:
    """Answer a request whose parameters or body do not fit."""
    refusal = unprocessable(wrong_fields(error.errors()))
    return ProblemResponse(refusal.status_code, refusal.detail, errors=refusal.errors)


async def answer_known(_: Request, error: DaemonError) -> Response:
    """Answer an error that the client can do something about."""
    for kind, detail in _UNAVAILABLE.items():
        if isinstance(error, kind):
            return ProblemResponse(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=RETRY)
    status = next(status for kind, status in _STATUS_OF.items() if isinstance(error, kind))
    return ProblemResponse(status, str(error))


HANDLERS: dict[Any, Any] = {
    HTTPException: answer_refusal,
    RequestValidationError: answer_invalid,
    **dict.fromkeys((*_STATUS_OF, *_UNAVAILABLE), answer_known),
}
