"""How long the daemon takes from its start to ready, with ten subscribers, ten workflows and ten jobs on SQLite.

Run: python -m benchmarks.startup [--size 10] [--repeat 7] [--profile]
Ready is what systemd is told, and the line `daemon_started`. The database exists already, as it does at every start but
the first; so do the compiled modules. Beside it: Python alone, and Python with the libraries that every daemon needs.
With --profile: which imports take longest, with what they import, as `python -X importtime` says.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.acceptance.application import Application
from tests.acceptance.crowd import crowd
from tests.acceptance.process import WITHIN_S

GOAL_S = 1.5
LIBRARIES = "import asyncio, sqlite3, pydantic, structlog, typer, fastapi, uvicorn, apscheduler.schedulers.asyncio"


def started(application: Application) -> float:
    """Return how long one start takes, in seconds."""
    with application.daemon(wait=False) as daemon:
        daemon.wait_for("daemon_started", timeout_s=WITHIN_S)
        return time.monotonic() - daemon.started_s


def python(code: str) -> float:
    """Return how long Python takes for some code, in seconds."""
    before_s = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.monotonic() - before_s


def median_line(what: str, measure: Callable[[], float], repeat: int) -> str:
    """Return the median of several measurements, and the best and the worst."""
    found = sorted(measure() for _ in range(repeat))
    return f"{what:<28} {statistics.median(found):.3f} s ({found[0]:.3f}-{found[-1]:.3f})"


def slow_imports(application: Application, count: int = 25) -> list[str]:
    """Return the imports that take longest, in microseconds."""
    command = [sys.executable, "-X", "importtime", *application.command("check")[1:]]
    done = subprocess.run(command, cwd=application.folder, env=os.environ, capture_output=True, text=True, check=True)
    rows = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines()[1:] if "|" in line]
    rows.sort(key=lambda row: -int(row[1]))
    return [
        f"{int(itself):>8} µs itself, {int(all_):>8} µs in all  {name.strip()}" for itself, all_, name in rows[:count]
    ]


def main() -> None:
    """Print the figure, and what it consists of."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--size", type=int, default=10)
    arguments.add_argument("--repeat", type=int, default=7)
    arguments.add_argument("--profile", action="store_true")
    chosen = arguments.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every start would compile all modules once more
    print(f"python -m benchmarks.startup --size {chosen.size} --repeat {chosen.repeat}")
    with tempfile.TemporaryDirectory() as folder:
        application = crowd(Path(folder), chosen.size)
        started(application)
        print(median_line("Python alone", lambda: python("pass"), chosen.repeat))
        print(median_line("with the libraries", lambda: python(LIBRARIES), chosen.repeat))
        print(f"{median_line('start to ready', lambda: started(application), chosen.repeat)}; goal < {GOAL_S} s")
        if chosen.profile:
            print(*slow_imports(application), sep="\n")


if __name__ == "__main__":
    main()
