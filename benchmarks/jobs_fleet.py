"""Several daemons on one PostgreSQL, a job every second, one of them killed (SIGKILL) every few seconds.

Run: python -m benchmarks.jobs_fleet [--daemons 5] [--seconds 60] [--pause 3,5] [--seed 1]
Every second has to fire once, whoever dies; the time is from the nominal second to the handler's first line. A second
that was claimed by a daemon that died is begun by another once its lease is over, after four to eight seconds: these
are the late ones. A handler that had begun when its daemon died is begun again, as the next attempt.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.soak.database import database
from tests.soak.firings import fire
from tests.soak.recovery import percentile

_LATE_S = 1.0


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--daemons", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pause", default="3,5")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    print(
        f"python -m benchmarks.jobs_fleet --daemons {chosen.daemons} --seconds {chosen.seconds:g} "
        f"--pause {chosen.pause} --seed {chosen.seed}",
        flush=True,
    )
    shortest, longest = map(float, chosen.pause.split(","))
    with tempfile.TemporaryDirectory(prefix="sagad-jobs-") as name:
        folder = Path(name)
        with database("postgres", folder) as store:
            report = fire(
                store.url,
                folder / "fleet",
                daemons=chosen.daemons,
                seconds=chosen.seconds,
                pause_s=(shortest, longest),
                seed=chosen.seed,
            )
    late_s = report.late_s
    taken_over = [each for each in late_s if each >= _LATE_S]
    print(
        f"{report.seconds} seconds were due, {len(report.starts)} fired, {report.repeated} of them begun again; "
        f"{report.kills} kills, {len(report.violations)} violations"
    )
    print(
        f"late by p50 {percentile(late_s, 0.5) * 1e3:.1f} ms, p99 {percentile(late_s, 0.99) * 1e3:.1f} ms, "
        f"most {max(late_s, default=0) * 1e3:.1f} ms; {len(taken_over)} by {_LATE_S:g} s or more, after a kill"
    )
    for violation in report.violations:
        print(f"violation: {violation}")
    return int(bool(report.violations))


if __name__ == "__main__":
    sys.exit(main())
