"""A bus on a real RabbitMQ, and pika beside it as somebody else's publisher."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.rabbitmq.laboratory import Laboratory


@pytest.fixture
async def lab(amqp_url: str) -> AsyncIterator[Laboratory]:
    """An application of its own on the shared broker; gone afterwards."""
    laboratory = Laboratory(amqp_url)
    yield laboratory
    await laboratory.aclose()
