"""The bus on RabbitMQ keeps the promises of every bus."""

import pytest

from daemon.events.bus import Bus
from daemon.events.rabbitmq import RabbitBus
from tests.contract.bus_contract import CLAIMS, Claim, name_of_claim
from tests.integration.rabbitmq.laboratory import Laboratory


class RabbitWorld:
    """Buses of one application on one broker, each with its own connections."""

    def __init__(self, lab: Laboratory) -> None:
        self._lab = lab

    async def bus(self) -> Bus:
        return await self._lab.bus()

    async def crash(self, bus: Bus) -> None:
        assert isinstance(bus, RabbitBus)
        await bus._consume.aclose()
        await bus._publish.aclose()


@pytest.fixture
def world(lab: Laboratory) -> RabbitWorld:
    lab.subscribers.update(
        (
            "first",
            "second",
            "other",
            "one-word",
            "many-words",
            "everything",
            "twice",
            "reader",
            "probe",
            "stuck",
            "lively",
        )
    )
    return RabbitWorld(lab)


@pytest.mark.parametrize("claim", CLAIMS, ids=name_of_claim)
async def test_the_bus_on_rabbitmq_keeps_its_promise(claim: Claim, world: RabbitWorld) -> None:
    await claim(world)
