"""Events that workflows wait for, as they come in: kept for every run that may get to where it waits for them."""

from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from daemon.engine.ports import Ports
from daemon.engine.waiting import topic_of_event
from daemon.errors import Reject
from daemon.events.model import Envelope, Event, body_of, event_of, name_of
from daemon.store.model import Signal
from daemon.store.writes import PutSignal
from daemon.workflow.codec import Codec, wrong_fields
from daemon.workflow.nodes import WaitNode, walk
from daemon.workflow.workflow import WorkflowBase


class _AnyEvent(Event, extra="allow"):
    """An event of which several classes know different things."""


def _as_its(model: type[Event], event: Event) -> Event:
    try:
        return event_of(model, body_of(event))
    except ValidationError as error:
        raise Reject(f"The payload does not fit {model.__qualname__}: {wrong_fields(error)}.") from None


class Incoming:
    """Takes in events for the workflows that are known here.

    Args:
        workflows: By name; may become more.
    """

    def __init__(self, ports: Ports, workflows: Mapping[str, WorkflowBase]) -> None:
        self._ports = ports
        self._workflows = workflows

    def models(self) -> dict[str, type[Event]]:
        """Return what is waited for: the class of each event, by its name; one of any fields if there are several."""
        found: dict[str, type[Event]] = {}
        for _, node in self.nodes():
            name = name_of(node.event)
            found[name] = node.event if found.get(name, node.event) is node.event else _AnyEvent
        return found

    async def take(self, event: Event, envelope: Envelope) -> None:
        """Keep an event for those that wait for it, now or later; durable when this returns.

        Raises:
            Reject: It does not fit one of the classes of this name; the event is kept for the others.
            Exception: Whatever a `match` raised; likewise.
        """
        failure: Exception | None = None
        writes: list[PutSignal] = []
        for workflow, node in self.nodes():
            if name_of(node.event) != envelope.name:
                continue
            try:
                writes.append(self._signal(workflow, node, event, envelope))
            except Exception as error:  # noqa: BLE001 - whatever the application's function raises, the others' goes on
                failure = failure or error
        if writes:
            await self._ports.store.commit(*writes)
        if failure is not None:
            raise failure

    def _signal(self, workflow: str, node: WaitNode, event: Event, envelope: Envelope) -> PutSignal:
        same = event if type(event) is node.event else _as_its(node.event, event)
        body, _ = Codec(node.event).hold(same, self._ports.max_payload_bytes, f"event {envelope.name!r}")
        topic = topic_of_event(workflow, node, node.match(same))
        id_ = f"{envelope.source}:{envelope.id}"
        signal = Signal(self._ports.app, topic, id_, body, self._ports.clock.now_us())
        return PutSignal(signal, tuple(self.around(workflow)))

    def nodes(self) -> Iterator[tuple[str, WaitNode]]:
        """Iterate over the nodes that wait for an event, with the names of their workflows."""
        for name, workflow in self._workflows.items():
            for node in walk(workflow.graph.nodes):
                if isinstance(node, WaitNode):
                    yield name, node

    def around(self, workflow: str) -> set[str]:
        """Return the workflows whose runs may have a run of this one inside: itself, and those that it is a step of."""
        found = {workflow}
        while True:
            more = {
                name
                for name, each in self._workflows.items()
                if name not in found and any(child.workflow.name in found for child in each.graph.children())
            }
            if not more:
                return found
            found |= more
