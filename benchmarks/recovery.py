"""How soon a run goes on whose daemon was killed (SIGKILL): on SQLite after its restart, on PostgreSQL on a peer.

Run: python -m benchmarks.recovery [--kills 25] [--store sqlite|postgres] [--seed 1]
Under load, one daemon after the other is killed and started again, on SQLite the only one, on PostgreSQL one of three.
Of every run that was going on there, the time is taken to its next effect. On SQLite that is a restart and a look at
what is left: the file's lock tells at once that its owner is dead. The goal counts from the start of the process; most
runs go on before it is ready. An event that three kills in a row strike is given up, as documented; it is put back at
the end, and counted. On PostgreSQL the lease tells: it is for six
seconds, and renewed every two, so it is over after four to six; then the first peer that looks takes over; each does
every two seconds.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.soak import Plan, Report, soak
from tests.soak.database import Kind
from tests.soak.recovery import Sample, percentile

GOAL_S: dict[Kind, float] = {"sqlite": 1.0, "postgres": 8.0}
_DAEMONS: dict[Kind, int] = {"sqlite": 1, "postgres": 3}
_PAUSE_S: dict[Kind, float] = {"sqlite": 1.0, "postgres": 9.0}  # what the last kill interrupted has to go on before
_AT_MOST_S = 3_600.0


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--store", choices=("sqlite", "postgres"))
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every start would compile all modules once more
    kinds: Iterable[Kind] = [chosen.store] if chosen.store else ["sqlite", "postgres"]
    return max(_measure(kind, chosen.kills, chosen.seed) for kind in kinds)


def _measure(store: Kind, kills: int, seed: int) -> int:
    print(f"python -m benchmarks.recovery --kills {kills} --store {store} --seed {seed}", flush=True)
    pause_s = _PAUSE_S[store]
    plan = Plan(_AT_MOST_S, seed, _DAEMONS[store], store, 12, pause_s, ("kill",), count=kills)
    with tempfile.TemporaryDirectory(prefix="sagad-recovery-") as folder:
        report = soak(plan, Path(folder))
    found = [each for each in report.samples if each.by_peer] if store == "postgres" else report.samples
    print(f"{len(report.faults)} kills, {len(found)} runs that went on{' on a peer' * (store == 'postgres')}")
    print(f"{'seconds until it goes on':<28} {'p50':>7} {'p99':>7} {'most':>7}")
    if store == "postgres":
        _show("after the kill", [each.after_fault_s for each in found], f"goal: {GOAL_S[store]:g}")
    else:
        _show("after the kill", [each.after_fault_s for each in found])
        _show("after the new process began", [each.after_again_s for each in found], f"goal: {GOAL_S[store]:g}")
        _show("after it was ready", [each.after_up_s for each in found])
        _show("a start, until it is ready", report.ready_s)
    print(f"{report.replayed} events were given up since three kills had struck each, and put back")
    return _judge(report, found)


def _show(what: str, values: Iterable[float], more: str = "") -> None:
    found = list(values)
    columns = (percentile(found, 0.5), percentile(found, 0.99), max(found, default=0.0))
    print(f"{what:<28} {' '.join(f'{each:7.3f}' for each in columns)}  {more}".rstrip(), flush=True)


def _judge(report: Report, found: Sequence[Sample]) -> int:
    for violation in report.verdict.violations:
        print(f"violation: {violation}")
    return int(bool(report.verdict.violations) or not found)


if __name__ == "__main__":
    sys.exit(main())
