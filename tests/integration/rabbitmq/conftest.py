"""A bus on a real RabbitMQ, and pika beside it as somebody else's publisher."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.rabbitmq.laboratory import Laboratory, Node
from tests.services import private_rabbit


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A broker that the tests of a module have for themselves; one that needs another has a fixture of this name."""
    with private_rabbit() as running:
        yield running


@pytest.fixture
def broker_url(amqp_url: str) -> str:
    """The broker that all tests share; tests with a node of their own have a fixture of this name, too."""
    return amqp_url


@pytest.fixture
async def lab(broker_url: str) -> AsyncIterator[Laboratory]:
    """An application of its own on a broker; gone afterwards."""
    laboratory = Laboratory(broker_url)
    yield laboratory
    await laboratory.aclose()
