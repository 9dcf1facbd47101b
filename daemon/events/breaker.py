"""The kill switch of one subscriber: pauses it while the service is down that its handler needs.

    closed --(most events fail)--> open --(a pause)--> probing --(successes)--> closed
                                    ^                    |
                                    +----(it fails)------+

Open, nothing is started. Probing, one event is, and after each success twice as many as before, until that is as many
as ever. What fails on the way takes it back to one, and one that fails alone opens it again, for twice as long.

Invariants:
* A failure that is the event's own never opens it, and never keeps it open.
* While it is not closed, a failure of the service is not counted as an attempt. One of which it is unclear whose it is
  counts, so that a handler that can never succeed ends in dead letters; and nothing but such failures keeps it open
  for longer than `UNCLEAR_S`.
"""

from collections.abc import Callable, Hashable

from structlog.typing import FilteringBoundLogger

from daemon.clock import Clock, Timer
from daemon.events.blame import Blame

WINDOW = 20
WINDOW_S = 60.0
FAILED_MIN = 10
FAILED_SHARE = 0.8
PAUSE_S = (1.0, 60.0)  # the first, and the longest
UNCLEAR_S = 30.0
_FAILED = (Blame.SERVICE, Blame.UNCLEAR)


class Breaker:
    """Decides how many events a subscriber may start.

    Args:
        clock: Ends the pauses.
        chance: Random numbers from 0 to 1: takes up to a fifth off a pause, so that a fleet does not probe all at once.
        opened: Called when more may be started than before.
        log: The subscriber's.
    """

    def __init__(
        self, clock: Clock, *, chance: Callable[[], float], opened: Callable[[], None], log: FilteringBoundLogger
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._opened = opened
        self._log = log
        self._window: dict[Hashable, tuple[Blame, float]] = {}  # the latest of each event, newest last
        self._width: int | None = None  # how many may be under way; None: as many as ever
        self._out: set[Hashable] = set()  # what was started while it was not closed
        self._pause_s = PAUSE_S[0]
        self._paused_s = 0.0  # since when
        self._until_s = 0.0
        self._clear = False  # whether there is a failure that is the service's for certain
        self._given_in = False
        self._timer: Timer | None = None

    @property
    def paused(self) -> bool:
        """Whether the subscriber does not get as many events as it could handle."""
        return self._width is not None

    @property
    def left_s(self) -> float:
        """How long the pause still lasts, in seconds."""
        return max(0.0, self._until_s - self._clock.monotonic_s())

    def room(self, busy: int, concurrency: int) -> int:
        """Return how many more events may be started."""
        room = concurrency - busy
        return room if self._width is None else min(room, self._width - len(self._out))

    def started(self, event: Hashable) -> None:
        """Note that an event is handled now."""
        if self._width:
            self._out.add(event)

    def ended(
        self, event: Hashable, blame: Blame | None, *, concurrency: int, final: bool = False, error: str = ""
    ) -> bool:
        """Note how the handling of an event ended; return whether its failure is not to be counted.

        Args:
            event: Which one.
            blame: Whose failure it is; None if it tells nothing.
            concurrency: How many may be under way when all is well.
            final: Whether it was the last attempt: who gives one attempt only wants its failure to be final.
            error: What it raised, for the log.
        """
        probed = event in self._out
        self._out.discard(event)
        if blame is None:
            return False
        failed = blame in _FAILED
        if not failed:
            self._given_in = False
        if self._width is None:
            if not (final and blame is Blame.UNCLEAR):
                self._count(event, blame, error)
        elif not probed:
            pass  # it was started before, and tells what was known
        elif failed:
            self._clear = self._clear or blame is Blame.SERVICE
            if self._width == 1:
                self._open_longer(error)
            else:
                self._width = 1
        else:
            self._widen(concurrency, self._width)
        return blame is Blame.SERVICE and self.paused

    def aclose(self) -> None:
        """Forget the pause: nothing is started any more."""
        if self._timer is not None:
            self._timer.cancel()

    # --- closed ---

    def _count(self, event: Hashable, blame: Blame, error: str) -> None:
        now_s = self._clock.monotonic_s()
        window = self._window
        window.pop(event, None)
        window[event] = blame, now_s
        if len(window) > WINDOW:
            del window[next(iter(window))]
        if blame in _FAILED and not (self._given_in and blame is Blame.UNCLEAR):
            lately = [each for each, at_s in window.values() if now_s - at_s <= WINDOW_S]
            failed = sum(each in _FAILED for each in lately)
            if failed >= FAILED_MIN and failed >= FAILED_SHARE * len(lately):
                self._clear = Blame.SERVICE in lately
                self._paused_s = now_s
                self._pause_s = PAUSE_S[0]
                self._open(error)

    # --- open, and probing ---

    def _open(self, error: str) -> None:
        self._width = 0
        self._out.clear()
        delay_s = self._pause_s * (1 - self._chance() / 5)
        self._until_s = self._clock.monotonic_s() + delay_s
        self._timer = self._clock.call_later(delay_s, self._probe)
        self._log.warning("subscriber_paused", delay_s=round(delay_s, 3), error=error)

    def _open_longer(self, error: str) -> None:
        if not self._clear and self._clock.monotonic_s() - self._paused_s >= UNCLEAR_S:
            self._given_in = True
            self._close("the pause does not help; events are retried and dead-lettered as the subscriber says")
            return
        self._pause_s = min(self._pause_s * 2, PAUSE_S[1])
        self._open(error)

    def _probe(self) -> None:
        self._width = 1
        self._opened()

    def _widen(self, concurrency: int, width: int) -> None:
        self._width = width * 2
        if self._width >= concurrency:
            self._close("it works again")

    def _close(self, reason: str) -> None:
        self._width = None
        self._out.clear()
        self._window.clear()
        paused_s = round(self._clock.monotonic_s() - self._paused_s, 3)
        self._log.info("subscriber_resumed", paused_s=paused_s, reason=reason)
