"""What the engine needs of the world."""

from collections.abc import Callable
from dataclasses import dataclass, field

from daemon.clock import Clock
from daemon.engine.watching import News
from daemon.store.port import Store


@dataclass(frozen=True, slots=True)
class Ports:
    """What an execution needs of the world.

    Attributes:
        max_payload_bytes: The longest JSON of one value.
        park_after_s: Longer waits than this are not waited for in a task.
        news: Tells whoever watches the runs.
        alone: Whether nobody else has the store, which applies a commit at once and keeps nothing beyond this process:
            what nobody can look at need not be written yet.
        is_lapsed: Tells whether others may take this process for dead, and at once take a run that it starts.
    """

    store: Store
    clock: Clock
    app: str
    owner: str
    max_payload_bytes: int
    park_after_s: float
    news: News = field(default_factory=News)
    alone: bool = False
    is_lapsed: Callable[[], bool] = lambda: False
