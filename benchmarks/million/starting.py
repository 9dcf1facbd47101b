"""How long the daemon takes from its start to ready: on an empty store, and on the filled one with unfinished runs."""

import statistics
import time
from pathlib import Path

import httpx

from benchmarks.million.application.workflows.orders import BEFORE_THE_GATE
from benchmarks.million.databases import Kind
from tests.acceptance.application import Application
from tests.acceptance.process import WITHIN_S, DaemonProcess, until

UNFINISHED = 100
GOAL_S = 0.3
_LEASE_S = 7.0


def show_starts(filled: Application, empty: Application, kind: Kind, *, repeat: int) -> bool:
    """Print the medians, and tell whether the difference is small enough."""
    print(f"\nFrom the start to ready, {UNFINISHED} runs of the filled store unfinished; seconds, in turn:")
    gate = filled.folder / "gate"
    gate.unlink(missing_ok=True)
    with filled.daemon() as daemon:
        leave_unfinished(daemon, gate)
        daemon.kill()
    took: dict[str, list[float]] = {"empty": [], "filled": []}
    ended_s = 0.0
    for number in range(repeat):
        if kind == "postgres":
            time.sleep(_LEASE_S)  # until the lease of the one that was killed is over
        last = number == repeat - 1
        if last:
            gate.touch()
        for name, application in (("empty", empty), ("filled", filled)):
            with application.daemon(wait=False) as daemon:
                daemon.wait_for("daemon_started", timeout_s=WITHIN_S)
                took[name].append(time.monotonic() - daemon.started_s)
                if name == "filled":
                    if last:
                        daemon.wait_for("run_finished", count=UNFINISHED, timeout_s=60)
                        ended_s = time.monotonic() - daemon.started_s
                    daemon.kill()
    for name, each in took.items():
        print(f"  {name:8}{statistics.median(each):.3f}   {'  '.join(f'{one:.3f}' for one in each)}")
    more_s = statistics.median(took["filled"]) - statistics.median(took["empty"])
    print(f"  {more_s:+.3f} s on the filled store; goal <= {GOAL_S} s. All had ended {ended_s:.2f} s after the start.")
    return more_s <= GOAL_S


def leave_unfinished(daemon: DaemonProcess, gate: Path) -> None:
    """Start runs that hang in the middle of their steps."""
    with daemon.api() as api:
        for number in range(UNFINISHED):
            order = {"id": f"U-{number}", "gate": str(gate)}
            api.post("/api/workflows/place-order/runs", json={"input": order, "wait": False}).raise_for_status()
        until(lambda: _hanging(api) >= UNFINISHED, "the runs hang")


def _hanging(api: httpx.Client) -> int:
    page = api.get("/api/runs", params={"status": "running", "limit": 200}).json()
    return sum(len(run["steps"]) == BEFORE_THE_GATE for run in page["items"])
