"""What clients send: bodies and query parameters, and how strictly they are read."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from email.message import Message
from http import HTTPStatus
from typing import Annotated, Any, Self

from fastapi import Header, Request
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import from_json
from starlette.responses import Response

from daemon.engine import filters
from daemon.events.bus import REPLAY_PER_S
from daemon.events.model import ID_MAX, NAME_MAX, check_name, encode_data
from daemon.http.problem import Refusal, unprocessable
from daemon.schedule.desk import AFTER, check_note
from daemon.store.job_model import FiringState
from daemon.store.model import RunStatus
from daemon.workflow.bound import check_run_id

_IDS_MAX = 10_000


def _event_name(name: str) -> str:
    try:
        return check_name(name)
    except ValueError:  # quotes the name
        what = "Must be words of letters, digits, '_' and '-', joined by dots ('order.placed')"
        raise ValueError(f"{what}, {NAME_MAX} characters at most") from None


def _run_id(run_id: str) -> str:
    try:
        return check_run_id(run_id)
    except ValueError:  # quotes the id
        raise ValueError("Must be 1 to 200 of the characters A-Z a-z 0-9 . _ : @ -") from None


def _short_text(text: str) -> str:
    if not text.isprintable() or not 1 <= len(text.encode()) <= ID_MAX:
        raise ValueError(f"Must be 1 to {ID_MAX} bytes of printable text")
    return text


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


ShortText = Annotated[str, AfterValidator(_short_text)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


TraceHeader = Annotated[str, Header()]  # a wrong one fails no request


class NewEvent(_Body):
    """An event to publish.

    Attributes:
        name: Its name, which is the routing key.
        data: Its payload.
        id: Publishing again with the same id, name and source is one event to every subscriber; left out: a fresh one.
        source: Who it comes from; left out: this application.
    """

    name: Annotated[str, AfterValidator(_event_name)]
    data: Any
    id: ShortText | None = None
    source: ShortText | None = None


class NewRun(_Body):
    """A run to start, or to join.

    Attributes:
        input: The workflow's input.
        run_id: One id is one run, however often it is asked for; left out: a fresh one.
        wait: Answer when the run ends, or is parked; false: as soon as its start is durable.
    """

    input: Any = None
    run_id: Annotated[str, AfterValidator(_run_id)] | None = None
    wait: bool = True


class NextAttempt(_Body):
    """How a run that has ended is run once more.

    Attributes:
        from_step: What comes before this step keeps its outcome; left out: everything runs again.
        input: That step's input, or the workflow's; left out: as before.
        wait: Answer when the run ends, or is parked; else as soon as its start is durable.
    """

    from_step: str | None = None
    input: Any = None
    wait: bool = False


class StepOutput(_Body):
    """What an external step has come to: its output, of the step's type."""

    output: Any = None


class StepFailure(_Body):
    """Why an external step has failed."""

    error: Annotated[str, Field(min_length=1)]


class Order(_Body):
    """Who orders something of a job, and why; both are kept, and may be left out."""

    by: Annotated[str, AfterValidator(check_note)] = ""
    reason: Annotated[str, AfterValidator(check_note)] = ""


class DeadLetterChoice(_Body):
    """Dead letters of one subscriber: those with these event ids, with this text in their reason or error, or all."""

    subscriber: str
    ids: Annotated[list[str], Field(max_length=_IDS_MAX)] | None = None
    error: ShortText | None = None
    all: bool = False

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        if (self.ids is not None or self.error is not None) is self.all:
            raise ValueError("Needs either ids, error, or both; or all: true")
        return self


class Replay(DeadLetterChoice):
    """Dead letters to put back; it is answered when that is done.

    Attributes:
        rate: At most so many a second.
    """

    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = REPLAY_PER_S


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, values: Any) -> Any:
        # A form sends what was not filled in, too.
        return {key: value for key, value in values.items() if value != ""} if isinstance(values, dict) else values


class RunQuery(_Query):
    """Which runs to list.

    Attributes:
        trigger: What started them: `event`, `job`, `request`, `run`, `call`, or with its name, `event:hello-customer`.
        since: Started at this time or later, ISO 8601; without an offset in UTC.
        text: Occurs in the run id, the workflow's name, the input or the errors, ignoring case.
        after: The `next` of the page before.
    """

    workflow: ShortText | None = None
    status: RunStatus | None = None
    trigger: Annotated[ShortText, Field(pattern=filters.TRIGGER)] | None = None
    since: Annotated[datetime, AfterValidator(_in_utc)] | None = None
    text: ShortText | None = None
    after: Annotated[str, Field(pattern=filters.AFTER)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class OrderQuery(_Query):
    """Which orders of a job to list.

    Attributes:
        after: The `next` of the page before.
    """

    after: Annotated[str, Field(pattern=AFTER)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class FiringQuery(OrderQuery):
    """Which firings of a job to list: all, or those in a state."""

    state: FiringState | None = None


class DeadLetterQuery(_Query):
    """Which dead letters to list: those of one subscriber, or of all; oldest first.

    Attributes:
        error: Only those with this text in their reason or error, ignoring case.
        limit: At most this many of each subscriber.
    """

    subscriber: str | None = None
    error: ShortText | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class JsonRoute(APIRoute):
    """A route whose body is JSON, and said to be: a form of another web page cannot send that."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, which gets its body as `_JsonRequest` reads it."""
        handle = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return handle_json


class _JsonRequest(Request):
    async def body(self) -> bytes:
        body = await super().body()
        if body and not _is_json(self.headers.get("content-type", "")):
            raise Refusal(
                HTTPStatus.UNPROCESSABLE_ENTITY, "Send the body as JSON, with Content-Type: application/json."
            )
        return body

    async def json(self) -> Any:
        try:
            # Unlike the standard library: nothing that is no JSON (NaN, half surrogates), and nesting has a limit.
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"The body is no JSON: {error}.") from None


def _is_json(content_type: str) -> bool:
    message = Message()
    message["content-type"] = content_type
    return message.get_content_type() == "application/json"


def encoded(field: str, value: Any) -> bytes:
    """Return a field's value as JSON again.

    Raises:
        Refusal: It holds a number beyond what floats hold.
    """
    try:
        return encode_data(value)
    except ValueError:
        raise unprocessable([(field, "Holds a number that is too large")]) from None
