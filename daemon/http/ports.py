"""What the API needs of the rest of the daemon."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from daemon.clock import Clock
from daemon.config import HttpConfig
from daemon.engine.engine import WorkflowEngine
from daemon.events.bus import Bus, Fare
from daemon.events.publisher import EventBus
from daemon.schedule.desk import JobDesk

Checks = Callable[[], Awaitable[Mapping[str, bool]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiPorts:
    """The parts that the API talks to.

    Attributes:
        app: The application's name: the source of events that name none.
        events: Takes the events that come in by HTTP.
        bus: Tells of queues and dead letters.
        jobs: Tells of jobs, and takes orders.
        http: Who may ask.
        max_payload_bytes: The largest request body.
        live: Whether this process is well, by the name of each check; knows nothing of the broker or the store.
        ready: Whether it takes work; while it drains, one of the checks fails.
        draining: Whether nothing new is taken any more.
        away: Whether what a request for this path changes could not be stored at the moment.
        subscribers: The subscribers, those that are turned off included: by id, the events or patterns that they take.
        fares: How they fare in this process.
    """

    app: str
    engine: WorkflowEngine
    events: EventBus
    bus: Bus
    jobs: JobDesk
    clock: Clock
    http: HttpConfig
    max_payload_bytes: int
    live: Checks
    ready: Checks
    draining: Callable[[], bool]
    away: Callable[[str], bool]
    subscribers: Callable[[], Mapping[str, Sequence[str]]]
    fares: Callable[[], Mapping[str, Fare]]
