"""Where the daemons keep their runs: a SQLite file, or a PostgreSQL of one's own that can be killed."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Literal, Protocol

import psutil

from tests.services import ServiceError, private_postgres

Kind = Literal["sqlite", "postgres"]
_STARTS = 20


class Database(Protocol):
    """What the soak asks of a database."""

    @property
    def url(self) -> str:
        """What `storage.url` says."""

    def kill(self) -> None:
        """End all of its processes as a power cut would."""

    def start(self) -> None:
        """Start it again, on the same address and with what it stored."""

    def damage(self) -> str:
        """Return what is wrong with the stored data by itself, or nothing."""


class SqliteFile:
    """A file; it has no process that could be killed but the daemons."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def url(self) -> str:
        return f"sqlite:///{self._path}"

    def kill(self) -> None:
        """Do nothing."""

    def start(self) -> None:
        """Do nothing."""

    def damage(self) -> str:
        with closing(sqlite3.connect(self._path)) as connection:
            (said,) = connection.execute("PRAGMA integrity_check").fetchone()
        return "" if said == "ok" else str(said)


class PostgresServer:
    """A private server, which recovers by itself from being killed."""

    def __init__(self) -> None:
        self._server = private_postgres()

    @property
    def url(self) -> str:
        return self._server.url

    def kill(self) -> None:
        # Those of its processes that outlive their postmaster for a moment keep a new one from starting.
        port = f"{self._server.port}"
        ours = [each for each in psutil.Process().children(recursive=True) if _is_postgres(each, port)]
        orphans = [child for each in ours for child in each.children(recursive=True)]
        self._server.kill()
        for each in orphans:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(orphans, timeout=10)

    def start(self) -> None:
        for left in reversed(range(_STARTS)):
            try:
                self._server.start()
            except ServiceError:
                self._server.kill()
                if left == 0:
                    raise
            else:
                return

    def damage(self) -> str:
        return ""

    def close(self) -> None:
        """End it and delete everything it had."""
        self._server.close()


@contextmanager
def database(kind: Kind, folder: Path) -> Iterator[Database]:
    """Give a database that runs."""
    if kind == "sqlite":
        yield SqliteFile(folder / "soak.db")
        return
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


def _is_postgres(process: psutil.Process, port: str) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.name().startswith("postgres") and port in process.cmdline()
    return False
