"""Daemons that are killed, stopped and ended while they work: what is lost, what happens twice, how fast they recover.

Run: python -m benchmarks.soak [--seconds 60] [--seed 1] [--daemons 1] [--store sqlite|postgres] [--in-flight 16]
     [--pause 2.5] [--faults kill,term,stop,database] [--keep FOLDER]
Clients keep so many runs in flight, of workflows that use every construct, started by events and by HTTP; a quarter of
them fail, are cancelled, or fail once and are tried again. Meanwhile the seed decides what goes wrong next: SIGKILL
(kill) or SIGTERM (term) of a daemon and a new start, SIGSTOP for longer than its lease (stop), and on PostgreSQL
SIGKILL of the server (database). Then everything has to end. Every effect is a line in a ledger, which is compared
with what was acknowledged and with the runs that are stored. The exit status is 1 if anything is not as it has to be;
then, or with --keep, the folder stays: the ledger, and what each daemon logged.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.soak import Plan, soak
from tests.soak.faults import DECK


def main() -> int:
    """Soak, print what has come of it, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--daemons", type=int, default=1)
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--in-flight", type=int, default=16)
    parser.add_argument("--pause", type=float, default=2.5)
    parser.add_argument("--faults", default=",".join(DECK))
    parser.add_argument("--keep", type=Path)
    chosen = parser.parse_args()
    faults = tuple(each for each in chosen.faults.split(",") if each)
    if unknown := set(faults) - set(DECK):
        parser.error(f"no such faults: {', '.join(sorted(unknown))}; there are {', '.join(DECK)}")
    plan = Plan(chosen.seconds, chosen.seed, chosen.daemons, chosen.store, chosen.in_flight, chosen.pause, faults)
    print(
        f"python -m benchmarks.soak --seconds {plan.seconds:g} --seed {plan.seed} --daemons {plan.daemons} "
        f"--store {plan.store} --in-flight {plan.in_flight} --pause {plan.pause_s:g} --faults {','.join(faults)}",
        flush=True,
    )
    folder = Path(chosen.keep or tempfile.mkdtemp(prefix="sagad-soak-"))
    report = soak(plan, folder)
    print(report)
    if report.verdict.violations:
        print(f"what there is to look at: {folder}")
        return 1
    if chosen.keep is None:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
