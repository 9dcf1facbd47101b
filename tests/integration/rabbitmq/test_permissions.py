"""Who may not configure the broker, on a node of their own where such a user is made."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.events.bus import Subscription
from daemon.events.rabbitmq.plan import definitions
from daemon.events.topology import State
from tests.integration.rabbitmq.laboratory import Laboratory, Node
from tests.services import RabbitNode, private_rabbit

GREET = Subscription("greet", ("customer.created",), 10)


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with private_rabbit() as running:
        running.ctl("add_user", "limited", "limited")
        running.ctl("set_permissions", "limited", "^$", ".*", ".*")
        yield running


@pytest.fixture
def broker_url(node: Node) -> str:
    return node.url


async def test_what_may_not_be_declared_is_told_and_what_an_administrator_declared_is_used(
    node: Node, lab: Laboratory
) -> None:
    limited = await lab.bus(url=node.url.replace("guest:guest", "limited:limited"))
    lab.subscribers.add("greet")

    refused = await limited.apply([GREET])
    await (await lab.bus()).apply([GREET])
    allowed = await limited.plan([GREET])

    assert {item.state for item in refused.items} == {State.MISSING, State.LATER}
    assert any("ACCESS_REFUSED" in trouble and "broker.declare" in trouble for trouble in refused.troubles)
    assert {item.state for item in allowed.items} == {State.OK}
    assert "we may not compare its properties" in allowed.items[0].detail


async def test_a_subscriber_works_on_definitions_that_an_administrator_has_imported(
    node: Node, lab: Laboratory, tmp_path: Path
) -> None:
    bus = await lab.bus(url=node.url.replace("guest:guest", "limited:limited"), declare="never")
    lab.subscribers.add("greet")
    missing = json.dumps(definitions((await bus.plan([GREET])).items, "/"))
    file = (node.folder if isinstance(node, RabbitNode) else tmp_path) / f"{lab.app}.json"
    file.write_text(missing)
    file.chmod(0o644)

    if isinstance(node, RabbitNode):
        node.ctl("import_definitions", str(file))
    else:
        node.call("sh", "-c", f"echo '{missing}' > /tmp/definitions.json")
        node.ctl("import_definitions", "/tmp/definitions.json")  # noqa: S108 - in the container
    [limits] = (await bus.plan([GREET])).commands
    node.ctl(*shlex.split(limits)[1:])
    _, inbox = await lab.subscribe(bus, "greet", "customer.created")
    await lab.publish("customer.created", b"{}")

    assert (await inbox.next()).message.body == b"{}"
    assert f"{lab.app}-dead" in node.ctl("list_policies")
    assert not (await bus.plan([GREET])).lacks


async def test_only_what_is_bound_counts_as_bound(node: Node, lab: Laboratory) -> None:
    """Nobody can ask the broker for bindings: what the store remembers has to be true."""
    node.ctl("add_user", lab.app, lab.app)
    node.ctl("set_permissions", lab.app, ".*", ".*", rf"^{lab.app}\\.")  # it may declare the exchange, not bind to it
    limited = await lab.bus(url=node.url.replace("guest:guest", f"{lab.app}:{lab.app}"))
    lab.subscribers.add("greet")

    refused = await limited.apply([GREET])
    remembered = await lab.store.bindings(lab.app)
    allowed = await (await lab.bus()).apply([GREET])

    assert next(item.state for item in refused.items if item.kind == "binding") is State.MISSING
    assert any("customer.created" in trouble for trouble in refused.troubles)
    assert remembered == []
    assert {item.state for item in allowed.items} == {State.OK}
    assert await lab.store.bindings(lab.app) == [("greet", "customer.created")]
