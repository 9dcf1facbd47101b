"""What every bus promises, as functions that take a world to try it in; a module for each theme.

A world is one broker, or one store, for one application's name that nobody else uses. To apply the contract:

    @pytest.mark.parametrize("claim", CLAIMS, ids=name_of_claim)
    async def test_the_bus_keeps_its_promise(claim: Claim, world: BusWorld) -> None:
        await claim(world)
"""

from tests.contract.bus_contract import dead_letters, handling, ordering, publishing, settling
from tests.contract.bus_contract.world import CLAIMS, BusWorld, Claim, name_of_claim

__all__ = [
    "CLAIMS",
    "BusWorld",
    "Claim",
    "dead_letters",
    "handling",
    "name_of_claim",
    "ordering",
    "publishing",
    "settling",
]
