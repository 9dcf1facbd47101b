"""A daemon as a process of its own, seen only from outside: its log, its API, its exit status."""

import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

WITHIN_S = 30.0
Entry = dict[str, Any]


def until(probe: Callable[[], bool], what: str, *, timeout_s: float = WITHIN_S) -> None:
    """Return once `probe` holds."""
    deadline_s = time.monotonic() + timeout_s
    while not probe():
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.01)


class DaemonProcess:
    """A daemon that was started by this test, which has to `end` it.

    Attributes:
        entries: Its log so far, a dict a line.
        stray: Lines of its stdout that are none.
        folder: Where it runs.
        started_s: When it was started, on the monotonic clock.
    """

    def __init__(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], token: str | None = None) -> None:
        self.entries: list[Entry] = []
        self.stray: list[str] = []
        self.folder = cwd
        self.started_s = time.monotonic()
        self._token = token
        self._news = threading.Condition()
        self._errors = (cwd / "stderr.txt").open("w+")
        # It ends with us, however we end.
        bound_to_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        self._process = subprocess.Popen(
            [*bound_to_us, *command],
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    # --- its log ---

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                try:
                    self.entries.append(json.loads(line))
                except ValueError:
                    self.stray.append(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def logged(self, event: str, **fields: Any) -> list[Entry]:
        """Return the log's lines of this event with these fields, as far as they have come."""
        with self._news:
            return [each for each in self.entries if _fits(each, event, fields)]

    def wait_for(self, event: str, *, count: int = 1, timeout_s: float = WITHIN_S, **fields: Any) -> Entry:
        """Return the log's `count`th line of this event with these fields, once it is there."""
        found: list[Entry] = []

        def there() -> bool:
            found[:] = [each for each in self.entries if _fits(each, event, fields)]
            return len(found) >= count or not self._reader.is_alive()

        with self._news:
            self._news.wait_for(there, timeout_s)
        assert len(found) >= count, f"{len(found)} of {count} {event} {fields} in:\n{self.tail()}"
        return found[count - 1]

    def tail(self) -> str:
        """Return the end of what it said."""
        return "\n".join([*(json.dumps(each) for each in self.entries[-40:]), *self.stray, self.stderr()])

    def stderr(self) -> str:
        """Return what it wrote on stderr."""
        return Path(self._errors.name).read_text()

    # --- its life ---

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    def await_ready(self) -> None:
        """Return once readiness is 200."""
        self.wait_for("daemon_started")
        with self.api() as api:
            until(lambda: api.get("/readyz").status_code == httpx.codes.OK, f"ready:\n{self.tail()}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def stop(self, number: signal.Signals = signal.SIGTERM, *, timeout_s: float = WITHIN_S) -> int:
        """Send it a signal, and return its exit status."""
        self.send(number)
        return self.wait(timeout_s=timeout_s)

    def wait(self, *, timeout_s: float = WITHIN_S) -> int:
        """Return its exit status once it has ended, and everything that it logged was read."""
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end:\n{self.tail()}") from None
        self._reader.join()
        return status

    def end(self) -> None:
        """Have it ended, whatever it does."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    def cpu_s(self) -> float:
        """Return how much processor time it has used, in seconds."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    # --- its API ---

    @property
    def port(self) -> int:
        """Where its API listens, once it does."""
        return int(self.wait_for("http_listening")["port"])

    def api(self) -> httpx.Client:
        """Return a client of its API, with the application's token."""
        headers = {"authorization": f"Bearer {self._token}"} if self._token else {}
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=WITHIN_S, trust_env=False
        )


def _fits(entry: Entry, event: str, fields: Mapping[str, Any]) -> bool:
    return entry.get("event") == event and all(entry.get(name) == value for name, value in fields.items())


def answered(probe: Callable[[], bool]) -> bool:
    """Return what a probe says that asks a daemon; false if that does not answer, or not now."""
    try:
        return probe()
    except httpx.HTTPError:
        return False
