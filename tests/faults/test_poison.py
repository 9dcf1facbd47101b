"""An event that the process does not survive."""

import time

from tests.faults.laboratory import Laboratory


def test_an_event_that_kills_the_daemon_is_a_dead_letter_and_its_neighbours_are_handled(lab: Laboratory) -> None:
    lab.start()
    lab.order()
    lab.balance()
    lab.fleet.terminate(0)
    poison = [lab.order(kills="left" if number == 5 else "") for number in range(20)][5]

    lab.fleet.spawn(0)
    since_s = time.monotonic()
    killed = 0
    while not lab.has_letter("left", poison) and killed < 10:
        killed += lab.fleet.revive(0)

    lab.recovered("event that kills the daemon", since_s=since_s, repeated=31)
    assert killed == 3
