"""A subscriber is paused while the service is down that its handler needs, and for no other reason."""

from datetime import timedelta
from typing import Any

import pytest

from daemon.clock import ManualClock
from daemon.events.blame import Blame
from daemon.events.breaker import FAILED_MIN, UNCLEAR_S, Breaker
from daemon.log import get_logger

CONCURRENCY = 10


class Switch:
    """A breaker, and how often it said that more may be started."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.opened = 0
        self.breaker = Breaker(self.clock, chance=lambda: 0.0, opened=self._note, log=get_logger(__name__))
        self._serial = 0

    @property
    def room(self) -> int:
        """How many may be started while none is under way."""
        return self.breaker.room(0, CONCURRENCY)

    def handle(self, *blames: Blame | None, event: str = "", final: bool = False) -> list[bool]:
        """Handle events one after the other, each another one unless it is named."""
        uncounted = []
        for blame in blames:
            self._serial += 1
            name = event or f"e{self._serial}"
            self.breaker.started(name)
            uncounted.append(self.breaker.ended(name, blame, concurrency=CONCURRENCY, final=final, error="E"))
        return uncounted

    def go_down(self, blame: Blame = Blame.SERVICE) -> None:
        """Have as many events fail as it takes."""
        self.handle(*[blame] * FAILED_MIN)
        assert self.room == 0

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(timedelta(seconds=seconds))

    def _note(self) -> None:
        self.opened += 1


@pytest.fixture
def switch() -> Switch:
    return Switch()


# --- what opens it ---


def test_it_opens_when_most_of_many_events_have_failed_for_a_services_reason(switch: Switch) -> None:
    before = switch.handle(*[Blame.SERVICE] * (FAILED_MIN - 1))
    closed = switch.breaker.paused
    last = switch.handle(Blame.SERVICE)

    assert (closed, switch.breaker.paused, switch.room) == (False, True, 0)
    assert (set(before), last) == ({False}, [True])


@pytest.mark.parametrize(
    "blames",
    [
        [Blame.EVENT] * 50,
        [None] * 50,
        [Blame.SERVICE, Blame.NOBODY] * 50,
        [*[Blame.SERVICE] * 2, Blame.NOBODY] * 30,
        [Blame.SERVICE] * (FAILED_MIN - 1),
    ],
    ids=["the-events'-own", "tells-nothing", "half", "two-thirds", "few"],
)
def test_it_stays_closed_when(switch: Switch, blames: list[Blame | None]) -> None:
    switch.handle(*blames)

    assert (switch.breaker.paused, switch.room) == (False, CONCURRENCY)


def test_one_event_that_fails_again_and_again_does_not_open_it(switch: Switch) -> None:
    uncounted = switch.handle(*[Blame.SERVICE] * 50, event="poison")

    assert (switch.breaker.paused, set(uncounted)) == (False, {False})


def test_failures_that_are_far_apart_do_not_open_it(switch: Switch) -> None:
    for _ in range(50):
        switch.handle(Blame.SERVICE)
        switch.wait(10)

    assert not switch.breaker.paused


def test_last_attempts_that_fail_for_an_unclear_reason_do_not_open_it(switch: Switch) -> None:
    switch.handle(*[Blame.UNCLEAR] * 50, final=True)

    assert not switch.breaker.paused


# --- the way back ---


def test_after_the_pause_one_event_is_tried_and_after_each_success_twice_as_many(switch: Switch) -> None:
    switch.go_down()
    switch.wait(0.999)
    before = (switch.opened, switch.room)
    switch.wait(0.001)
    widths = [switch.room]
    while switch.breaker.paused:
        switch.handle(Blame.NOBODY)
        widths.append(switch.room)

    assert before == (0, 0)
    assert switch.opened == 1
    assert widths == [1, 2, 4, 8, CONCURRENCY]


def test_the_pause_doubles_with_each_event_that_fails_alone_up_to_a_minute(switch: Switch) -> None:
    switch.go_down()
    pauses = []
    for _ in range(9):
        pauses.append(switch.breaker.left_s)
        switch.wait(switch.breaker.left_s)
        assert switch.handle(Blame.SERVICE) == [True]

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_an_event_that_fails_among_others_takes_it_back_to_one_at_a_time(switch: Switch) -> None:
    switch.go_down()
    switch.wait(1)
    switch.handle(Blame.NOBODY, Blame.NOBODY)

    switch.handle(Blame.SERVICE)

    assert (switch.room, switch.breaker.left_s) == (1, 0)


@pytest.mark.parametrize("blame", [Blame.EVENT, Blame.NOBODY])
def test_an_event_that_fails_by_itself_shows_that_the_service_answers(switch: Switch, blame: Blame) -> None:
    switch.go_down()
    switch.wait(1)

    switch.handle(blame)

    assert switch.room == 2


def test_an_event_that_tells_nothing_makes_room_for_the_next_one(switch: Switch) -> None:
    switch.go_down()
    switch.wait(1)

    switch.breaker.started("probe")
    meanwhile = switch.room
    switch.breaker.ended("probe", None, concurrency=CONCURRENCY)

    assert (meanwhile, switch.room) == (0, 1)


def test_what_was_started_before_the_pause_neither_ends_nor_lengthens_it(switch: Switch) -> None:
    for at in range(3):
        switch.breaker.started(f"before-{at}")
    switch.go_down()

    uncounted = switch.breaker.ended("before-0", Blame.SERVICE, concurrency=CONCURRENCY)
    switch.wait(1)
    switch.breaker.ended("before-1", Blame.SERVICE, concurrency=CONCURRENCY)
    switch.breaker.ended("before-2", Blame.NOBODY, concurrency=CONCURRENCY)

    assert uncounted
    assert (switch.room, switch.breaker.left_s) == (1, 0)


def test_closed_again_it_needs_as_many_failures_as_at_first(switch: Switch) -> None:
    switch.go_down()
    switch.wait(1)
    switch.handle(*[Blame.NOBODY] * 4)

    switch.handle(*[Blame.SERVICE] * (FAILED_MIN - 1))

    assert not switch.breaker.paused
    switch.go_down()
    assert switch.breaker.left_s == 1


# --- unclear failures ---


def test_unclear_failures_are_counted_and_hold_it_open_for_half_a_minute_at_most(switch: Switch) -> None:
    switch.go_down(Blame.UNCLEAR)
    waited_s, uncounted = 0.0, list[bool]()
    while switch.breaker.paused:
        waited_s += switch.breaker.left_s
        switch.wait(switch.breaker.left_s)
        uncounted += switch.handle(Blame.UNCLEAR)
    switch.handle(*[Blame.UNCLEAR] * 50)

    assert UNCLEAR_S <= waited_s < UNCLEAR_S + 5
    assert set(uncounted) == {False}
    assert not switch.breaker.paused


def test_after_that_a_success_or_a_failure_for_certain_makes_it_watch_again(switch: Switch) -> None:
    for again in (Blame.NOBODY, Blame.SERVICE):
        switch.go_down(Blame.UNCLEAR)
        while switch.breaker.paused:
            switch.wait(switch.breaker.left_s)
            switch.handle(Blame.UNCLEAR)
        if again is Blame.NOBODY:
            switch.handle(Blame.NOBODY)
    switch.handle(*[Blame.UNCLEAR] * 50)
    before = switch.breaker.paused

    switch.handle(Blame.SERVICE)

    assert (before, switch.breaker.paused) == (False, True)


def test_what_is_the_services_for_certain_holds_it_open_among_unclear_failures(switch: Switch) -> None:
    switch.handle(*[Blame.UNCLEAR] * (FAILED_MIN - 1), Blame.SERVICE)
    for _ in range(20):
        switch.wait(switch.breaker.left_s)
        switch.handle(Blame.UNCLEAR)

    assert switch.breaker.paused


def test_no_timer_is_left_when_nothing_is_started_any_more(switch: Switch) -> None:
    switch.go_down()

    switch.breaker.aclose()

    assert switch.clock.next_due_s() is None


def test_its_lines_say_why_and_for_how_long(switch: Switch, log: list[dict[str, Any]]) -> None:
    switch.go_down()
    switch.wait(1)
    switch.handle(*[Blame.NOBODY] * 4)

    paused, resumed = log
    assert (paused["event"], paused["level"], paused["delay_s"], paused["error"]) == (
        "subscriber_paused",
        "warning",
        1,
        "E",
    )
    assert (resumed["event"], resumed["level"], resumed["paused_s"]) == ("subscriber_resumed", "info", 1)
