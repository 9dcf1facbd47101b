"""What a broker says of itself, for whoever reads of an event that was not handled."""

from collections.abc import Iterator

from tests.services import RabbitContainer, RabbitNode, ServiceError

_QUESTIONS = (
    ("list_queues", "name", "state", "messages_ready", "messages_unacknowledged", "consumers"),
    ("list_connections", "name", "state", "recv_cnt"),
    ("list_channels", "connection", "number", "state", "messages_unconfirmed", "messages_unacknowledged"),
    ("eval", "rabbit_alarm:get_alarms()."),
    ("eval", "ets:tab2list(ra_state)."),
)
_LINES = 40


def autopsy(node: RabbitNode | RabbitContainer) -> str:
    """Return its queues, connections, channels and alarms, and what it logged last that was amiss."""
    return "\n".join(_lines(node))


def _lines(node: RabbitNode | RabbitContainer) -> Iterator[str]:
    for question in _QUESTIONS:
        try:
            yield from (" ".join(question), node.ctl(*question))
        except ServiceError as error:
            yield str(error)
    if isinstance(node, RabbitNode):
        said = node.log_path.read_text(errors="replace").splitlines()
        yield from [line for line in said if "[info]" not in line][-_LINES:]
