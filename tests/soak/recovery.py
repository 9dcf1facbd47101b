"""How long it takes until a run goes on whose daemon, or database, was taken away."""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.soak.faults import Fault
from tests.soak.ledger import Line

_DEADLY = frozenset({"kill", "term"})


@dataclass(frozen=True, slots=True)
class Sample:
    """A run that a fault interrupted, and that has had another effect since.

    Attributes:
        kind: Of the fault.
        after_fault_s: From the fault to that effect.
        after_up_s: From when what was struck was up again to that effect; 0 if a peer was faster.
    """

    kind: str
    after_fault_s: float
    after_up_s: float


def samples(faults: Sequence[Fault], lines: Iterable[Line]) -> list[Sample]:
    """Return a sample for each run that a fault interrupted while it was driven, not while it waited for the outside.

    A run that the next fault struck before it had gone on is a sample of that one.
    """
    effects: dict[str, list[Line]] = defaultdict(list)
    for line in sorted(lines, key=lambda each: each.at_s):
        if line.run_id and not line.root.startswith("order-"):  # those wait for clients
            effects[line.root].append(line)
    found: list[Sample] = []
    gone: set[int] = set()
    for fault, following in zip(faults, [*faults[1:], None], strict=True):
        until_s = following.at_s if following is not None else float("inf")
        if fault.kind in _DEADLY:
            gone |= fault.pids
        for of_run in effects.values():
            at = bisect_left(of_run, fault.at_s, key=lambda line: line.at_s)
            while fault.kind in _DEADLY and at < len(of_run) and of_run[at].pid in gone:
                at += 1  # it was still at work after SIGTERM
            if at in {0, len(of_run)} or of_run[at].at_s >= until_s:
                continue
            if fault.kind == "database" or of_run[at - 1].pid in gone | fault.pids:
                at_s = of_run[at].at_s
                found.append(Sample(fault.kind, at_s - fault.at_s, max(0.0, at_s - fault.up_s)))
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of them does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else 0.0
