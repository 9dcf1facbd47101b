"""What private servers have in common: a folder, an account, a free port, a process that ends with the tests."""

import atexit
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

_PORTS = range(10_000, 32_768)  # below those of outgoing connections, on Linux
# The parent death signal is sent when the thread that started the process ends, so one that stays starts them all.
_starter = ThreadPoolExecutor(1, thread_name_prefix="starter")


class ServiceError(RuntimeError):
    """A server that tests need could not be had; the one line says what to do about it."""


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens, and which the system gives to no connection.

    While a server is stopped, a connection from its port would keep it from starting again: that of a client, even,
    which looks for the server there, and finds itself.
    """
    for _ in range(100):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", secrets.choice(_PORTS)))
            except OSError:
                continue
            port: int = listener.getsockname()[1]
            return port
    raise ServiceError(f"no port of 127.0.0.1 from {_PORTS.start} on is free; end what has them")


def await_true(probe: Callable[[], bool], *, timeout_s: float, otherwise: Callable[[], str]) -> None:
    """Wait until `probe` holds; raise ServiceError with what `otherwise` tells when it does not in time."""
    deadline_s = time.monotonic() + timeout_s
    while not probe():
        if time.monotonic() > deadline_s:
            raise ServiceError(otherwise())
        time.sleep(0.05)


class Service(ABC):
    """Something private that runs: to start, stop, kill and start again. `close`, or leaving `with`, leaves nothing."""

    def __init__(self) -> None:
        atexit.register(self.close)

    @abstractmethod
    def start(self) -> None:
        """Start it and return once it answers; one that runs is left alone."""

    @abstractmethod
    def stop(self) -> None:
        """End it in order; what it stored stays."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once, as a power cut would; what it stored stays."""

    def restart(self) -> None:
        """Stop it in order and start it again, on the same port and with what it stored."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End it and delete everything it had."""
        self.kill()
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Server(Service):
    """A service that is processes of ours, with a folder.

    As root it runs as `account`, since databases refuse root; its folder belongs to that account. A process of it ends
    with this one, however this one ends: at exit, and by the kernel's parent death signal where `setpriv` is at hand.
    """

    def __init__(self, account: str) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="sagad-"))
        self._as_account: dict[str, Any] = {}
        if os.geteuid() == 0:
            entry = _entry(account)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
            self._as_account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        self._processes: list[subprocess.Popen[bytes]] = []

    def kill(self) -> None:
        """End it at once, as a power cut would; what it stored stays."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """End it and delete its folder."""
        super().close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        """End its processes, last started first; one that ignores `how` is killed after half a minute."""
        while self._processes:
            process = self._processes.pop()
            process.send_signal(how)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @property
    def log_path(self) -> Path:
        """Where the server's own output goes."""
        return self.folder / "server.log"

    def spawn(self, command: Sequence[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start a process of this server; it is killed with it."""
        setpriv = shutil.which("setpriv")
        bound_to_us = [setpriv, "--pdeathsig", "KILL"] if setpriv else []

        def launch() -> subprocess.Popen[bytes]:
            with self.log_path.open("ab") as log:
                return subprocess.Popen(
                    [*bound_to_us, *command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=env,
                    cwd=self.folder,
                    start_new_session=True,  # Ctrl-C is for the tests, which then end it
                    **self._as_account,
                )

        process = _starter.submit(launch).result()
        self._processes.append(process)
        return process

    def call(self, command: Sequence[str], env: dict[str, str], *, timeout_s: float = 60) -> str:
        """Run a tool of this server to its end, as its account, and return its output."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=self.folder,
            timeout=timeout_s,
            check=False,
            text=True,
            **self._as_account,
        )
        if done.returncode != 0:
            message = f"`{' '.join(command)}` failed with status {done.returncode}:\n{done.stdout}"
            raise ServiceError(message)
        return done.stdout

    def await_answer(self, process: subprocess.Popen[bytes], probe: Callable[[], bool], *, timeout_s: float) -> None:
        """Wait until `probe` holds; raise ServiceError with the end of the log when the process ends or time is up."""

        def said() -> str:
            tail = "\n".join(self.log_path.read_text(errors="replace").splitlines()[-20:])
            return f"{type(self).__name__} did not answer within {timeout_s:g} s; it said:\n{tail}"

        await_true(lambda: process.poll() is not None or probe(), timeout_s=timeout_s, otherwise=said)
        if process.poll() is not None:
            raise ServiceError(said())


def _entry(account: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(account)
    except KeyError:
        return pwd.getpwnam("nobody")
