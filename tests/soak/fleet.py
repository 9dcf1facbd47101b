"""The daemons: one or several processes on one application folder and one store, each on a port of its own."""

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx

from tests.acceptance.application import Application
from tests.acceptance.process import DaemonProcess, Entry, until

GRACE_S = 0.3
_READY_S = 120.0
_END_S = 60.0


class Fleet:
    """So many daemons, which are started, and started again, by the thread that made it: they end with that.

    Attributes:
        violations: What a daemon did that it must not: it ended by itself, or with a status.
        ready_s: How long each start took until it was ready, in seconds.
    """

    def __init__(self, application: Application, count: int) -> None:
        self.violations: list[str] = []
        self.ready_s: list[float] = []
        self._application = application
        self._daemons: dict[int, DaemonProcess] = {}
        self._past: list[DaemonProcess] = []
        self._addresses: dict[int, str] = {}
        self._count = count

    # --- who there is ---

    @property
    def numbers(self) -> range:
        """Its daemons are numbered."""
        return range(self._count)

    @property
    def addresses(self) -> list[str]:
        """Where those listen that should."""
        return list(self._addresses.values())

    def pid(self, number: int) -> int:
        """Return the process id of a daemon."""
        return self._daemons[number].pid

    def daemon(self, number: int) -> DaemonProcess:
        """Return the process that a daemon is at the moment."""
        return self._daemons[number]

    def logged(self) -> Iterator[Entry]:
        """Iterate over the log's lines of all daemons that there ever were."""
        for daemon in [*self._past, *self._daemons.values()]:
            yield from list(daemon.entries)

    # --- what happens to them ---

    def start(self, number: int, *, wait: bool = True) -> None:
        """Start a daemon, and return once it is ready, or has started at least if it is not waited for."""
        daemon = self.spawn(number)
        if not wait:
            daemon.wait_for("daemon_started", timeout_s=_READY_S)
            return
        self.await_ready(number)
        self.ready_s.append(time.monotonic() - daemon.started_s)

    def spawn(self, number: int) -> DaemonProcess:
        """Start a daemon, and wait for nothing: what it finds may end it before it says that it has started."""
        folder = self._application.folder / "daemons" / f"{number}-{len(self._past)}"
        folder.mkdir(parents=True)
        daemon = DaemonProcess(self._application.command("run"), cwd=folder, env=os.environ)
        self._daemons[number] = daemon
        return daemon

    def await_ready(self, number: int) -> None:
        """Return once a daemon takes work."""
        daemon = self._daemons[number]
        daemon.wait_for("daemon_started", timeout_s=_READY_S)
        self._addresses[number] = f"http://127.0.0.1:{daemon.port}"

        def is_ready() -> bool:
            with daemon.api() as api:
                try:
                    return api.get("/readyz").status_code == httpx.codes.OK
                except httpx.TransportError:
                    return False

        until(is_ready, f"ready:\n{daemon.tail()}", timeout_s=_READY_S)

    def kill(self, number: int) -> None:
        """End a daemon as a power cut would."""
        self._check_lives(number)
        self._addresses.pop(number, None)
        self._daemons[number].kill()
        self._bury(number)

    def terminate(self, number: int) -> None:
        """Ask a daemon to end, and return once it has."""
        self._check_lives(number)
        self._addresses.pop(number, None)
        status = self._daemons[number].stop(timeout_s=GRACE_S + _END_S)
        if status != 0:
            self.violations.append(f"daemon {number} ended with status {status} after SIGTERM")
        self._bury(number)

    def revive(self, number: int) -> bool:
        """Start a daemon again if something that it handled has killed it, and tell whether it had.

        It may die of the same once more, before it has started: nothing is waited for.
        """
        if self._daemons[number].status != -signal.SIGKILL:
            return False
        self._addresses.pop(number, None)
        self._bury(number)
        self.spawn(number)
        return True

    def suspend(self, number: int, for_s: float) -> None:
        """Stop a daemon for a time, as a debugger or a machine that sleeps would."""
        self._check_lives(number)
        daemon = self._daemons[number]
        daemon.send(signal.SIGSTOP)
        try:
            time.sleep(for_s)
        finally:
            daemon.send(signal.SIGCONT)

    def end(self) -> None:
        """Have all of them ended, whatever they do, and keep their logs beside what they said on stderr."""
        self._addresses.clear()
        for number in list(self._daemons):
            self._bury(number)
        for daemon in self._past:
            lines = [json.dumps(each) + "\n" for each in daemon.entries]
            daemon.folder.joinpath("log.json").write_text("".join([*lines, *daemon.stray]))

    def read(self, path: str, **query: Any) -> Any:
        """Return what the API of the first daemon answers."""
        try:
            client = self._daemons[0].api()
        except AssertionError as error:  # it has ended before it listened
            raise httpx.ConnectError(str(error)) from error
        with client as api:
            answer = api.get(path, params=query)
            answer.raise_for_status()
            return answer.json()

    def _check_lives(self, number: int) -> None:
        daemon = self._daemons[number]
        if (status := daemon.status) is not None:
            self.violations.append(f"daemon {number} ended by itself with status {status}:\n{daemon.tail()}")

    def _bury(self, number: int) -> None:
        daemon = self._daemons.pop(number)
        daemon.end()
        self._past.append(daemon)
