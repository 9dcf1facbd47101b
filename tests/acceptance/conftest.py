"""The application in front of its users: a daemon of its own process on either bus."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.application import LABORATORY, SHIPPED, Application
from tests.acceptance.broker import Broker
from tests.acceptance.process import DaemonProcess

SUBSCRIBERS = ("hello-customer", "keep-ledger", "refuse-order", "workflows")


@pytest.fixture
def shipped(tmp_path: Path) -> Application:
    """The shipped application, on the embedded default."""
    return Application(tmp_path / "app")


@pytest.fixture
def laboratory(tmp_path: Path) -> Application:
    """The shipped application and the laboratory's handlers, on the embedded default."""
    return Application(tmp_path / "app", parts=(SHIPPED, LABORATORY))


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The notify socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(15)
        yield listener


@pytest.fixture
def broker(amqp_url: str) -> Iterator[Broker]:
    """A RabbitMQ with names of this test alone; nothing is left there."""
    its = Broker(amqp_url)
    yield its
    its.clean(SUBSCRIBERS)


@dataclass(frozen=True)
class Shop:
    """A laboratory whose daemon runs, shared by the tests of a module: each takes ids of its own.

    Attributes:
        broker: Where another program may publish; None on the embedded bus.
    """

    application: Application
    daemon: DaemonProcess
    broker: Broker | None


@pytest.fixture(scope="module", params=["embedded", "rabbitmq"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A laboratory whose daemon runs, on either bus."""
    broker = Broker(request.getfixturevalue("amqp_url")) if request.param == "rabbitmq" else None
    application = Application(
        tmp_path_factory.mktemp("shop") / "app", broker.settings if broker else {}, parts=(SHIPPED, LABORATORY)
    )
    with application.daemon() as daemon:
        yield Shop(application, daemon, broker)
    if broker is not None:
        broker.clean(SUBSCRIBERS)
