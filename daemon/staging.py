"""What a handler emits: events on their way to the outbox, with ids that a repetition after a crash finds again."""

import hashlib
from collections.abc import Callable

from daemon.clock import Clock
from daemon.errors import PayloadTooLargeError
from daemon.events.model import Envelope, Event, encode_event, name_of, pack
from daemon.store.model import OutgoingEvent
from daemon.store.writes import StageEvent
from daemon.trace import Trace


class Staging:
    """Collects what one handling of an event or one firing emits.

    The id of an emitted event is derived from `origin` and its place in it: an attempt that is repeated after a crash
    emits the same events once more, and whoever gets them recognises them.

    Args:
        app: The source of the events.
        owner: The process that publishes them, while it lives.
        origin: Names the handling and its attempt, the same in every repetition of it, by parts with NUL between
            them; events of one origin are published in order.
        clock: Says when they happened.
        cause: The event in whose handling they are emitted.
        commit_now: Takes an event that shall not wait for the end of the handling.
        max_payload_bytes: The largest payload.
        trace: What the events belong to.
    """

    __slots__ = (
        "_app",
        "_cause",
        "_clock",
        "_commit_now",
        "_count",
        "_max_payload_bytes",
        "_origin",
        "_owner",
        "_trace",
        "writes",
    )

    def __init__(
        self,
        *,
        app: str,
        owner: str,
        origin: str,
        clock: Clock,
        cause: Envelope | None,
        commit_now: Callable[[StageEvent], object],
        max_payload_bytes: int,
        trace: Trace,
    ) -> None:
        self._app = app
        self._owner = owner
        self._origin = origin
        self._clock = clock
        self._cause = cause
        self._commit_now = commit_now
        self._max_payload_bytes = max_payload_bytes
        self._trace = trace
        self._count = 0
        self.writes: list[StageEvent] = []

    def emit(self, event: Event, immediately: bool = False) -> None:  # noqa: FBT001, FBT002 - as contexts call it
        """Stage an event as it is now: what happens to the object later does not change what is published.

        Raises:
            DefinitionError: The event's class has no name.
            CodecError: It has no JSON form; names the field.
            PayloadTooLargeError: It is above the limit.
        """
        self._count += 1
        now_us = self._clock.now_us()
        event_id = hashlib.sha256(f"{self._app}\x00{self._origin}\x00{self._count}".encode()).hexdigest()[:32]
        message = encode_event(
            event, source=self._app, now_us=now_us, id=event_id, cause=self._cause, trace=self._trace
        )
        if len(message.body) > self._max_payload_bytes:
            raise PayloadTooLargeError(f"event {name_of(type(event))!r}", len(message.body), self._max_payload_bytes)
        origin = self._origin.replace("\x00", "\n")  # what keeps it may be a database that cannot keep NUL
        write = StageEvent(OutgoingEvent(event_id, self._app, origin, self._count, pack(message), now_us, self._owner))
        if immediately:
            self._commit_now(write)
        else:
            self.writes.append(write)
