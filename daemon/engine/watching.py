"""What happens to runs, told to whoever watches, as soon as it is durable."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from weakref import ref

from daemon.clock import Clock, from_us
from daemon.errors import WatcherBehindError
from daemon.store.model import RunRecord, RunStatus, StepRecord, StepState
from daemon.store.writes import InsertRun, PutStep, UpdateChild, UpdateRun, Write
from daemon.workflow.run import SHOWN

_HEARD_MAX = 10_000
_LOOK_S = 0.25
Told = dict[tuple[str, str], tuple[RunStatus | StepState, int]]
"""The latest state and attempt of each step that was told, by run id and step; the run's own under an empty step."""


@dataclass(frozen=True, slots=True)
class RunEvent:
    """Something that happened to a run, or to one of its steps.

    Attributes:
        step: The step's name; empty: the run itself.
        state: In which state it is since then.
        attempt: Which attempt of the run, or how many attempts of the step were started.
        at: When; aware, UTC.
    """

    run_id: str
    workflow: str
    step: str
    state: RunStatus | StepState
    attempt: int
    at: datetime

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data; without a step where it is of the run itself."""
        return {
            "run_id": self.run_id,
            "workflow": self.workflow,
            "step": self.step or None,
            "state": self.state.value,
            "attempt": self.attempt,
            "at": self.at.isoformat(),
        }


class News:
    """Passes on what happens to the runs of this process; nothing is even looked at while nobody watches."""

    def __init__(self) -> None:
        self._watches: set[ref[RunWatch]] = set()  # no `WeakSet`: its length takes ten times as long

    @property
    def is_watched(self) -> bool:
        """Whether anybody wants to know."""
        return bool(self._watches)

    def add(self, watch: "RunWatch") -> None:
        """Tell a watch of everything from now on, until it is forgotten."""
        self._watches.add(ref(watch, self._watches.discard))

    def remove(self, watch: "RunWatch") -> None:
        """Tell it of nothing more."""
        self._watches.discard(ref(watch))

    def _all(self) -> "list[RunWatch]":
        return [watch for each in list(self._watches) if (watch := each()) is not None]

    def tell(self, events: Iterable[RunEvent], told: Told) -> None:
        """Pass on what is new since what was told, and note it there."""
        for event in events:
            key, found = (event.run_id, event.step), (event.state, event.attempt)
            if told.get(key) != found:
                told[key] = found
                for watch in self._all():
                    watch.hear(event)

    def tell_run(self, record: RunRecord, now_us: int) -> None:
        """Pass on where a run stands whose journal does not tell."""
        if self.is_watched:
            self.tell([event_of_run(record, now_us)], {})

    def close(self) -> None:
        """Have every watch end: this process drives nothing any more."""
        for watch in self._all():
            watch.end()


def event_of_run(record: RunRecord, at_us: int) -> RunEvent:
    """Return where a run stands."""
    return RunEvent(record.run_id, record.workflow, "", record.status, record.attempt, from_us(at_us))


def event_of_step(run: RunRecord, record: StepRecord, at_us: int) -> RunEvent:
    """Return where a step stands."""
    return RunEvent(run.run_id, run.workflow, record.name, record.state, record.attempts, from_us(at_us))


def events_of(writes: Iterable[Write], runs: Mapping[str, RunRecord], now_us: int) -> list[RunEvent]:
    """Return what a commit tells of these runs, by their keys, and of those that it writes itself."""
    events: list[RunEvent] = []
    for write in writes:
        if isinstance(write, PutStep):
            run = runs.get(write.record.run_key)
            if run is not None and write.record.kind in SHOWN:
                events.append(event_of_step(run, write.record, now_us))
        elif isinstance(write, (InsertRun, UpdateRun, UpdateChild)):
            events.append(event_of_run(write.record, now_us))
    return events


@dataclass(frozen=True, slots=True)
class Subject:
    """The one run that is watched.

    Attributes:
        look: Reads its latest attempt, and where it and its steps stand; raises `RunNotFound`.
        is_here: Whether this process drives it at the moment, and hence tells of it.
    """

    run_id: str
    look: Callable[[], Awaitable[tuple[int, list[RunEvent]]]]
    is_here: Callable[[], bool]


class RunWatch:
    """Iterates over what happens, from its making on; `aclose` ends it.

    Of one run it begins with how that stands, looks at the store while another process or nobody drives it, and ends
    with the run. States that follow each other faster than it looks are left out then.

    Args:
        workflow: Tell only of runs of this one; None: of all.
        subject: Tell only of this run; None: of all that this process drives.
    """

    def __init__(self, news: News, clock: Clock, *, workflow: str | None, subject: Subject | None) -> None:
        self._news = news
        self._clock = clock
        self._workflow = workflow
        self._subject = subject
        self._heard: deque[RunEvent] = deque()
        self._woken = asyncio.Event()
        self._is_behind = False
        self._is_over = False
        self._is_begun = subject is None
        self._attempt = 0
        self._seen: Told = {}
        news.add(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RunEvent:
        """Return what happened next.

        Raises:
            RunNotFound: There is no such run.
            WatcherBehindError: Too much happened that was not asked for.
        """
        while True:
            if self._is_behind:
                raise WatcherBehindError(_HEARD_MAX)
            while self._heard:
                event = self._heard.popleft()
                if self._is_told(event):
                    return event
            if self._is_over:
                raise StopAsyncIteration
            await self._listen()

    async def aclose(self) -> None:
        """Watch no longer."""
        self._heard.clear()
        self.end()

    def end(self) -> None:
        """Hear nothing more; what was heard is told still."""
        self._news.remove(self)
        self._is_over = True
        self._woken.set()

    def hear(self, event: RunEvent) -> None:
        """Keep an event for whoever iterates."""
        if self._subject is None:
            if self._workflow not in (None, event.workflow):
                return
        elif event.run_id != self._subject.run_id:
            return
        self._heard.append(event)
        if len(self._heard) > _HEARD_MAX:
            self._heard.clear()
            self._is_behind = True
            self.end()
        self._woken.set()

    def _is_told(self, event: RunEvent) -> bool:
        """Tell whether an event is new and wanted; the end of the one run that is watched ends the watch."""
        if self._subject is None:
            return True
        if not event.step:
            self._is_of_attempt(event.attempt)
            if isinstance(event.state, RunStatus) and event.state.ended:
                self._heard.clear()
                self.end()
        key, found = (event.run_id, event.step), (event.state, event.attempt)
        is_new = self._seen.get(key) != found
        self._seen[key] = found
        return is_new and self._workflow in (None, event.workflow)

    def _is_of_attempt(self, attempt: int) -> None:
        if attempt != self._attempt:
            self._attempt = attempt
            self._seen.clear()

    async def _listen(self) -> None:
        """Return when there may be something to tell."""
        subject = self._subject
        if self._is_begun:
            self._woken.clear()
            timer = None if subject is None else self._clock.call_later(_LOOK_S, self._woken.set)
            try:
                await self._woken.wait()
            finally:
                if timer is not None:
                    timer.cancel()
            if subject is None or self._heard or self._is_over or subject.is_here():
                return
        if subject is not None:
            await self._look(subject)

    async def _look(self, subject: Subject) -> None:
        """Take over what is stored, unless this process has told of something newer meanwhile."""
        is_first = not self._is_begun
        while True:
            if is_first:
                self._heard.clear()  # what was told by now is stored
            attempt, events = await subject.look()
            if not self._heard:
                break
            if not is_first:
                return
        self._is_begun = True
        if not self._is_over:
            self._is_of_attempt(attempt)
            self._heard.extend(events)
