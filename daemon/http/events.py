"""Events that come in by HTTP, the subscribers that take them, and their dead letters."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query
from pydantic_core import from_json

from daemon.clock import iso_of
from daemon.errors import did_you_mean
from daemon.events.model import Choice, DeadLetter, encode_data, message_of
from daemon.http.ports import ApiPorts
from daemon.http.problem import JsonResponse, Refusal
from daemon.http.requests import DeadLetterChoice, DeadLetterQuery, NewEvent, Replay, TraceHeader, encoded
from daemon.redact import cleaned
from daemon.trace import TRACEPARENT, TRACESTATE, Trace


class EventsApi:
    """The routes of events, subscribers and dead letters."""

    def __init__(self, ports: ApiPorts) -> None:
        self._ports = ports

    async def publish_event(
        self, body: NewEvent, traceparent: TraceHeader = "", tracestate: TraceHeader = ""
    ) -> JsonResponse:
        """Publish an event; answered once it is durable, also if nobody is subscribed to it."""
        ports = self._ports
        data = encoded("data", body.data)
        source = body.source or ports.app
        trace = Trace.given({TRACEPARENT: traceparent, TRACESTATE: tracestate})
        message = message_of(body.name, data, source=source, now_us=ports.clock.now_us(), id=body.id, trace=trace)
        await ports.events.send(message)
        return JsonResponse({"id": message.envelope.id}, HTTPStatus.ACCEPTED)

    async def list_subscribers(self) -> JsonResponse:
        """List the subscribers with what they take and how their queues stand; null is not known."""
        known = self._ports.subscribers()
        states = await self._ports.bus.queues(sorted(known))
        fares = self._ports.fares()
        items = [
            {
                "id": state.subscriber,
                "events": list(known[state.subscriber]),
                "state": fares[state.subscriber].state,
                "trouble": fares[state.subscriber].trouble,
                "ready": state.ready,
                "in_flight": fares[state.subscriber].in_flight if state.in_flight is None else state.in_flight,
                "consumers": state.consumers,
                "dead_letters": state.dead,
            }
            for state in states
        ]
        return JsonResponse({"items": items})

    async def list_dead_letters(self, query: Annotated[DeadLetterQuery, Query()]) -> JsonResponse:
        """List dead letters, oldest first; looking never deletes."""
        names = [self._subscriber(query.subscriber)] if query.subscriber else sorted(self._ports.subscribers())
        choice, bus = Choice(error=query.error), self._ports.bus
        found = [each for name in names for each in await bus.dead_letters(name, choice, limit=query.limit)]
        return JsonResponse({"items": [_dead_letter_json(each) for each in found]})

    async def replay_dead_letters(self, body: Replay) -> JsonResponse:
        """Put dead letters back on their subscriber's queue, as attempt 1 with the same event id."""
        name, choice = self._chosen(body)
        return JsonResponse({"replayed": await self._ports.bus.replay(name, choice, per_s=body.rate)})

    async def discard_dead_letters(self, body: DeadLetterChoice) -> JsonResponse:
        """Delete dead letters for good."""
        name, choice = self._chosen(body)
        return JsonResponse({"discarded": await self._ports.bus.discard(name, choice)})

    def _chosen(self, body: DeadLetterChoice) -> tuple[str, Choice]:
        ids = None if body.ids is None else frozenset(body.ids)
        return self._subscriber(body.subscriber), Choice(ids, body.error)

    def _subscriber(self, name: str) -> str:
        known = self._ports.subscribers()
        if name not in known:
            raise Refusal(HTTPStatus.NOT_FOUND, f"No subscriber has the id {name[:80]!r}.{did_you_mean(name, known)}")
        return name


def _dead_letter_json(letter: DeadLetter) -> dict[str, Any]:
    try:
        data, body = from_json(letter.body, allow_inf_nan=False), None
        encode_data(data)  # 1e999 is JSON, and infinite
    except ValueError:
        data, body = None, letter.body.decode(errors="replace")
    return {
        "subscriber": letter.subscriber,
        "event_id": letter.event_id,
        "event_name": letter.event_name,
        "source": letter.source,
        "data": data,
        "undecodable": body,
        "headers": cleaned(None, letter.headers),
        "reason": letter.reason,
        "error": letter.error,
        "traceback": letter.traceback,
        "attempts": letter.attempts,
        "first_seen_at": iso_of(letter.first_seen_us),
        "dead_at": iso_of(letter.dead_us),
    }
