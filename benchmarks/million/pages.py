"""How long a page takes over HTTP, from the daemon on the filled store; and the commands that ask for the same."""

import http.client
import json
import statistics
import subprocess
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from daemon.clock import first_id, to_us
from tests.acceptance.application import Application
from tests.acceptance.process import DaemonProcess

GOAL_MS = 10.0
_TIMES = 15
_QUERIES: dict[str, dict[str, str]] = {
    "no filter": {},
    "workflow": {"workflow": "ship-order"},
    "rare workflow": {"workflow": "audit-order"},
    "unknown workflow": {"workflow": "no-such-workflow"},
    "status completed": {"status": "completed"},
    "status failed": {"status": "failed"},
    "status running": {"status": "running"},
    "status, workflow": {"status": "failed", "workflow": "place-order"},
    "completed, workflow": {"status": "completed", "workflow": "audit-order"},
    "running, workflow": {"status": "running", "workflow": "ship-order"},
    "trigger kind": {"trigger": "event"},
    "rare trigger kind": {"trigger": "job"},
    "trigger": {"trigger": "event:ship"},
    "trigger, status": {"trigger": "job", "status": "failed"},
    "trigger, workflow": {"trigger": "event", "workflow": "ship-order"},
    "trigger, other workflow": {"trigger": "event", "workflow": "audit-order"},
    "since": {"since": "MIDDLE"},
    "since the last": {"since": "LAST"},
    "since, status": {"since": "MIDDLE", "status": "reverted"},
    "since, workflow, trigger": {"since": "MIDDLE", "workflow": "ship-order", "trigger": "event:ship"},
    "text: a run id": {"text": "MIDDLE_ID"},
    "text: an error": {"text": "was declined"},
    "text: a workflow": {"text": "audit"},
    "text: in no run": {"text": "no such words"},
    "text, status": {"text": "is locked", "status": "failed"},
    "text, status: in no run": {"text": "no such words", "status": "failed"},
    "text, since": {"text": "no such words", "since": "LAST"},
    "everything": {
        "text": "order",
        "status": "reverted",
        "workflow": "place-order",
        "trigger": "event:enter-order",
        "since": "MIDDLE",
    },
}
_OTHERS = ("/api/runs/MIDDLE_ID", "/api/runs/no-such-run", "/api/workflows", "/api/subscribers", "/readyz", "/livez")


class Client:
    """One connection to a daemon's API, kept alive."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)

    def get(self, path: str) -> tuple[float, bytes]:
        """Return the milliseconds that a request took, and the body of the answer."""
        started_s = time.perf_counter()
        self._connection.request("GET", path)
        body = self._connection.getresponse().read()
        return (time.perf_counter() - started_s) * 1_000, body

    def page(self, **query: str) -> Any:
        """Return a page of runs."""
        return json.loads(self.get(f"/api/runs?{urlencode(query)}")[1])


def show_pages(filled: DaemonProcess, few: DaemonProcess, middle_id: str) -> bool:
    """Print how long each page takes, the first one and a deep one; tell whether all are quick enough."""
    million, other = Client(filled), Client(few)
    middle = json.loads(million.get(f"/api/runs/{middle_id}")[1])
    last = million.page(limit="1")["items"][0]
    places = {"MIDDLE_ID": middle_id, "MIDDLE": middle["created_at"], "LAST": last["created_at"]}
    after = first_id(to_us(datetime.fromisoformat(middle["created_at"])))  # as its key, by the millisecond
    print(
        f"\nGET /api/runs, 50 runs of ten steps a page, {_TIMES} times in turn; ms: best, median, longest; runs found"
    )
    print(f"  {'':26} {'few runs, first page':29}{'filled, first page':38}filled, deep page")
    slow = []
    for name, query in _QUERIES.items():
        asked = {key: places.get(value, value) for key, value in query.items()}
        first, deep = f"/api/runs?{urlencode(asked)}", f"/api/runs?{urlencode({**asked, 'after': after})}"
        answers = [(other.get(first), million.get(first), million.get(deep)) for _ in range(_TIMES)]
        told = [_times(answer[0] for answer in answers)]
        for at, what in ((1, "first"), (2, "deep")):
            page = json.loads(answers[-1][at][1])
            goes_on = "and more" if page["next"] else ""
            told.append(f"{_times(answer[at] for answer in answers)}  {len(page['items']):3} {goes_on:8}")
            if statistics.median(answer[at][0] for answer in answers) > GOAL_MS:
                slow.append(f"{name}, {what}")
        print(f"  {name:26} {'    '.join(told)}", flush=True)
    for path in _OTHERS:
        asked_for = path.replace("MIDDLE_ID", middle_id)
        both = [(other.get(asked_for), million.get(asked_for)) for _ in range(_TIMES)]
        print(f"  {path:26} {_times(each[0] for each in both)}    {_times(each[1] for each in both)}")
    print(f"  medians above {GOAL_MS:.0f} ms: {'; '.join(slow) or 'none'}")
    return not slow


def _times(answers: Iterable[tuple[float, bytes]]) -> str:
    took = sorted(milliseconds for milliseconds, _ in answers)
    return f"{took[0]:7.1f} {statistics.median(took):7.1f} {took[-1]:7.1f}"


def show_commands(filled: Application, empty: Application, middle_id: str) -> None:
    """Print how long commands take on both stores; most of it is Python's own start."""
    print("\nCommands, the best of three, in seconds:")
    for arguments in (("runs", "list"), ("runs", "list", "--text", "no such words"), ("runs", "show", middle_id)):
        took = {}
        for name, application in (("filled", filled), ("empty", empty)):
            each = []
            for _ in range(3):
                started_s = time.perf_counter()
                subprocess.run(
                    application.command(*arguments), cwd=application.folder, capture_output=True, check=False
                )
                each.append(time.perf_counter() - started_s)
            took[name] = min(each)
        print(f"  {' '.join(arguments):40} filled {took['filled']:.2f}   empty {took['empty']:.2f}")
