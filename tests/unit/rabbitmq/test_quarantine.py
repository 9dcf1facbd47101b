"""Who costs everybody the connection stays away from it for longer and longer."""

import pytest

from daemon.events.rabbitmq.quarantine import out_of_service_s


@pytest.mark.parametrize(("offences", "wait_s"), [(0, 0), (1, 0), (2, 30), (3, 60), (6, 480), (7, 600), (10_000, 600)])
def test_a_first_suspicion_is_looked_into_at_once_and_repeated_ones_ever_later(offences: int, wait_s: float) -> None:
    assert out_of_service_s(offences, 30) == wait_s
