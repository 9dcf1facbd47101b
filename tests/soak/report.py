"""What is to be done in a soak, and what has come of it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.soak.database import Kind
from tests.soak.faults import DECK, Fault
from tests.soak.recovery import Sample, percentile
from tests.soak.verdict import Verdict

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        seconds: How long there is load and trouble.
        seed: Decides what is ordered, and what goes wrong.
        daemons: How many there are, on one store.
        store: What they keep their runs in.
        in_flight: How many orders there are at a time.
        pause_s: The mean time between two faults.
        steady: Whether all those times are the same.
        count: After how many faults it is over, if that comes first; 0: whatever their number.
        faults: Kinds of them, of `DECK`.
    """

    seconds: float
    seed: int = 1
    daemons: int = 1
    store: Kind = "sqlite"
    in_flight: int = 16
    pause_s: float = 2.5
    faults: Sequence[str] = tuple(DECK)
    steady: bool = False
    count: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What has come of it.

    Attributes:
        loaded_s: How long there was load, in seconds.
        ready_s: How long each start of a daemon took until it was ready.
        trouble: What the daemons logged as errors, by event.
    """

    plan: Plan
    faults: Sequence[Fault]
    verdict: Verdict
    samples: Sequence[Sample]
    loaded_s: float
    ready_s: Sequence[float]
    replayed: int
    trouble: Counter[str]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        verdict, kinds = self.verdict, Counter(fault.kind for fault in self.faults)
        ended = verdict.ends.total()
        yield _line("faults injected", len(self.faults), _counts(kinds))
        yield _line("runs started", ended + verdict.lost, f"{ended / self.loaded_s:.1f} a second")
        yield _line("runs ended", ended, _counts(verdict.ends))
        yield _line("runs lost", verdict.lost)
        yield _line("effects", verdict.effects)
        yield _line("repeated without the key", verdict.repeats)
        yield _line("repeated with the key", verdict.extra)
        yield _line("rolled back, tried afresh", verdict.afresh, "an event delivered, or a request sent, again")
        yield _line("given up, then put back", self.replayed, "three daemons had died with the event")
        yield f"{'seconds until it goes on':<28} {'runs':>9}  {'p50, p99, most after the fault':<36}after all is up"
        for kind in kinds:
            yield _times(f"  {kind}", [each for each in self.samples if each.kind == kind])
        yield _times("  any", self.samples)
        starts = self.ready_s
        ready = f"ready within {percentile(starts, 0.5):.2f} s, {max(starts):.2f} s at most"
        yield _line("daemons started", len(starts), ready)
        yield _line("errors in their logs", self.trouble.total(), _counts(self.trouble))
        yield _line("violations", len(verdict.violations))
        yield from (f"  {violation}" for violation in verdict.violations[:_SHOWN])


def _line(what: str, count: int, more: str = "") -> str:
    return f"{what:<28} {count:>9,}  {more}".rstrip()


def _times(what: str, found: Sequence[Sample]) -> str:
    columns = ([each.after_fault_s for each in found], [each.after_up_s for each in found])
    texts = [
        " ".join(f"{each:7.3f}" for each in (percentile(of, 0.5), percentile(of, 0.99), max(of, default=0.0)))
        for of in columns
    ]
    return f"{what:<28} {len(found):>9,}  {texts[0]:<36}{texts[1]}" if found else _line(what, 0)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counter.items()))
