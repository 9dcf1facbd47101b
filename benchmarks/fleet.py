"""One, two and four daemons on one PostgreSQL under steady load, without and with kills: throughput, and what is lost.

Run: python -m benchmarks.fleet [--seconds 65] [--seed 1] [--in-flight 48] [--daemons 1,2,4] [--every 20]
     [--keep FOLDER]
Each stage has a server and daemons of its own, and clients that keep so many runs in flight; see `benchmarks.soak` for
what they do. With kills, a daemon is killed (SIGKILL) every 20 s, and started again. All stages share the machine with
their server and their clients: more daemons than it has cores cannot make it faster.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.soak import Plan, Report, soak
from tests.soak.recovery import percentile

_HEAD = (
    f"{'daemons':>7} {'kills':>5} {'runs':>7} {'runs/s':>7} {'effects/s':>9} {'lost':>5} "
    f"{'again':>6} {'by key':>6} {'on a peer':>9} {'p50 s':>6} {'p99 s':>6}  violations"
)


def main() -> int:
    """Run all stages, print a line for each, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=65)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--in-flight", type=int, default=48)
    parser.add_argument("--daemons", default="1,2,4")
    parser.add_argument("--every", type=float, default=20)
    parser.add_argument("--keep", type=Path)
    chosen = parser.parse_args()
    print(
        f"python -m benchmarks.fleet --seconds {chosen.seconds:g} --seed {chosen.seed} "
        f"--in-flight {chosen.in_flight} --daemons {chosen.daemons} --every {chosen.every:g}"
    )
    print("again: effects that were repeated without the idempotency key; by key: those that it would not have caught")
    print(_HEAD, flush=True)
    folder = Path(chosen.keep or tempfile.mkdtemp(prefix="sagad-fleet-"))
    violations: list[str] = []
    for daemons in map(int, chosen.daemons.split(",")):
        for faults in ((), ("kill",)):
            plan = Plan(
                chosen.seconds, chosen.seed, daemons, "postgres", chosen.in_flight, chosen.every, faults, steady=True
            )
            report = soak(plan, folder / f"{daemons}{'-kills' * bool(faults)}")
            print(_line(report), flush=True)
            violations += report.verdict.violations
    for violation in violations:
        print(f"violation: {violation}")
    if violations:
        print(f"what there is to look at: {folder}")
        return 1
    if chosen.keep is None:
        shutil.rmtree(folder)
    return 0


def _line(report: Report) -> str:
    verdict, peers = report.verdict, [each.after_fault_s for each in report.samples if each.by_peer]
    ended = verdict.ends.total()
    return (
        f"{report.plan.daemons:>7} {len(report.faults):>5} {ended:>7,} {ended / report.loaded_s:>7.1f} "
        f"{verdict.effects / report.loaded_s:>9.1f} {verdict.lost:>5} {verdict.repeats:>6} {verdict.extra:>6} "
        f"{len(peers):>9} {_shown(peers, 0.5)} {_shown(peers, 0.99)}  {len(verdict.violations)}"
    )


def _shown(values: Sequence[float], share: float) -> str:
    return f"{percentile(values, share):6.2f}" if values else f"{'-':>6}"


if __name__ == "__main__":
    sys.exit(main())
