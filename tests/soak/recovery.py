"""How long it takes until a run goes on whose daemon, or database, was taken away."""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from tests.soak.faults import Fault
from tests.soak.ledger import Line

_DEADLY = frozenset({"kill", "term"})


@dataclass(frozen=True, slots=True)
class Sample:
    """A run that a fault interrupted, and that has had another effect since.

    Attributes:
        kind: Of the fault.
        after_fault_s: From the fault to that effect.
        after_again_s: From when what was struck was started again to that effect; 0 if a peer was faster.
        after_up_s: From when it was up again to that effect; 0 likewise.
        by_peer: Whether another daemon than the one that took its place had that effect.
    """

    kind: str
    after_fault_s: float
    after_again_s: float
    after_up_s: float
    by_peer: bool


def samples(faults: Sequence[Fault], lines: Sequence[Line]) -> list[Sample]:
    """Return a sample for each run that a fault interrupted while it was driven, not while it waited for the outside.

    A run that the next fault struck before it had gone on is a sample of that one.
    """
    effects: dict[str, list[Line]] = defaultdict(list)
    for line in sorted(lines, key=lambda each: each.at_s):
        if line.run_id and not line.root.startswith("order-"):  # those wait for clients
            effects[line.root].append(line)
    found: list[Sample] = []
    gone: set[int] = set()
    first_s: dict[int, float] = {}
    for line in lines:
        first_s[line.pid] = min(line.at_s, first_s.get(line.pid, line.at_s))
    for fault, following in zip_longest(faults, faults[1:]):
        until_s = following.at_s if following is not None else float("inf")
        if fault.kind in _DEADLY:
            gone |= fault.pids
        before = {pid for pid, at_s in first_s.items() if at_s < fault.at_s}
        for of_run in effects.values():
            at = bisect_left(of_run, fault.at_s, key=lambda line: line.at_s)
            while fault.kind in _DEADLY and at < len(of_run) and of_run[at].pid in gone:
                at += 1  # it was still at work after SIGTERM
            if at in {0, len(of_run)} or of_run[at].at_s >= until_s:
                continue
            if fault.kind == "database" or of_run[at - 1].pid in gone | fault.pids:
                found.append(_sample(fault, of_run[at], by_peer=of_run[at].pid in before))
    return found


def _sample(fault: Fault, line: Line, *, by_peer: bool) -> Sample:
    after_again_s, after_up_s = (max(0.0, line.at_s - each) for each in (fault.again_s, fault.up_s))
    return Sample(fault.kind, line.at_s - fault.at_s, after_again_s, after_up_s, by_peer)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of them does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else 0.0
