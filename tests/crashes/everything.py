"""All scenarios."""

from tests.crashes import asked, lasting, nested, straight
from tests.crashes.scenario import Scenario


def scenarios() -> list[Scenario]:
    """Return all of them."""
    return [each for some in (straight, nested, lasting, asked) for each in some.scenarios()]
