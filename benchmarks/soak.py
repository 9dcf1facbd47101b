"""Daemons that are killed, stopped and ended while they work: what is lost, what happens twice, how fast they recover.

Run: python -m benchmarks.soak [--seconds 60] [--seed 1] [--daemons 1] [--store sqlite|postgres] [--in-flight 16]
     [--pause 2.5] [--faults kill,term,stop,database] [--keep FOLDER]
     python -m benchmarks.soak --broker rabbitmq [--seconds 60] [--seed 1] [--daemons 2] [--store sqlite|postgres]
     [--rate 40] [--pause 2.5] [--faults kill,freeze,broker-kill,...] [--keep FOLDER]
Clients keep so many runs in flight, of workflows that use every construct, started by events and by HTTP; a quarter of
them fail, are cancelled, or fail once and are tried again. Meanwhile the seed decides what goes wrong next: SIGKILL
(kill) or SIGTERM (term) of a daemon and a new start, SIGSTOP for longer than its lease (stop), and on PostgreSQL
SIGKILL of the server (database). Then everything has to end. Every effect is a line in a ledger, which is compared
with what was acknowledged and with the runs that are stored. The exit status is 1 if anything is not as it has to be;
then, or with --keep, the folder stays: the ledger, and what each daemon logged.

With --broker rabbitmq, another program publishes orders at this rate, each once the broker has confirmed the one
before, and the broker (one of its own), the network and the queues fail too: stopped, killed, emptied, low on memory,
impatient; frozen, slow, cut; deleted and replaced. Some orders are rejected, and some kill whoever handles them
(poison). What was confirmed has to be handled by every subscriber, or to be its dead letter; in the end all of those
are replayed by the command, and then handled. A queue that is deleted on purpose is empty at that moment. An effect
that is repeated with its key is one that cannot be recognised as a repetition.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.faults.deck import DECK as EVENT_DECK
from tests.faults.soak import EventPlan, soak_events
from tests.services import private_rabbit
from tests.soak import Plan, soak
from tests.soak.faults import DECK


def main() -> int:
    """Soak, print what has come of it, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", choices=("embedded", "rabbitmq"), default="embedded")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--daemons", type=int)
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--in-flight", type=int, default=16)
    parser.add_argument("--rate", type=float, default=40)
    parser.add_argument("--pause", type=float, default=2.5)
    parser.add_argument("--faults")
    parser.add_argument("--keep", type=Path)
    chosen = parser.parse_args()
    deck = EVENT_DECK if chosen.broker == "rabbitmq" else DECK
    faults = tuple(each for each in chosen.faults.split(",") if each) if chosen.faults is not None else tuple(deck)
    if unknown := set(faults) - set(deck):
        parser.error(f"no such faults: {', '.join(sorted(unknown))}; there are {', '.join(deck)}")
    daemons = chosen.daemons or (2 if chosen.broker == "rabbitmq" else 1)
    plan: Plan | EventPlan
    common = f"--seconds {chosen.seconds:g} --seed {chosen.seed} --daemons {daemons} --store {chosen.store}"
    if chosen.broker == "rabbitmq":
        plan = EventPlan(chosen.seconds, chosen.seed, daemons, chosen.store, chosen.rate, chosen.pause, faults)
        said = f"--broker rabbitmq {common} --rate {plan.rate:g}"
    else:
        plan = Plan(chosen.seconds, chosen.seed, daemons, chosen.store, chosen.in_flight, chosen.pause, faults)
        said = f"{common} --in-flight {plan.in_flight}"
    print(f"python -m benchmarks.soak {said} --pause {plan.pause_s:g} --faults {','.join(faults)}", flush=True)
    folder = Path(chosen.keep or tempfile.mkdtemp(prefix="sagad-soak-"))
    violations = run(plan, folder)
    if violations:
        print(f"what there is to look at: {folder}")
        return 1
    if chosen.keep is None:
        shutil.rmtree(folder)
    return 0


def run(plan: Plan | EventPlan, folder: Path) -> Sequence[str]:
    """Do as planned, print what has come of it, and return what must not be."""
    if isinstance(plan, Plan):
        report = soak(plan, folder)
        print(report)
        return report.verdict.violations
    with private_rabbit() as node:
        of_events = soak_events(plan, node, folder)
    print(of_events)
    return of_events.violations


if __name__ == "__main__":
    sys.exit(main())
