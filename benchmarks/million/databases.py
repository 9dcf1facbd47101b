"""Where the runs are kept: two databases of one kind, one that is filled and stays, and one that is empty."""

import os
import shutil
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import asyncpg

from daemon.store.port import Store
from daemon.store.postgres import PostgresStore
from daemon.store.sqlite import SqliteStore
from tests.services import PostgresServer
from tests.services.postgres import find_programs

Kind = Literal["sqlite", "postgres"]
Name = Literal["filled", "empty"]
APP = "shop"
_SETTINGS = ("listen_addresses=127.0.0.1", "max_connections=60", "max_wal_size=4GB")


class Databases(ABC):
    """Both databases; what is in the filled one stays until the next time."""

    @abstractmethod
    def url(self, name: Name) -> str:
        """Return what `storage.url` says for it."""

    @abstractmethod
    def store(self, name: Name) -> Store:
        """Return a store on it, not yet open."""

    @abstractmethod
    async def make_empty(self, name: Name) -> None:
        """Have nothing in it."""

    @abstractmethod
    async def size_bytes(self, name: Name) -> int:
        """Return how large it is on the disk."""

    @abstractmethod
    async def rows(self, name: Name, query: str) -> list[tuple[object, ...]]:
        """Return what a query finds."""

    @abstractmethod
    async def insert(self, name: Name, table: str, columns: Sequence[str], rows: list[tuple[object, ...]]) -> None:
        """Put many rows into a table, as fast as that goes."""

    @abstractmethod
    async def settle(self) -> None:
        """Have the filled one look as if its rows had come over weeks: counted, and with nothing left to write."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what was started."""


class SqliteFiles(Databases):
    """Two files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, name: Name) -> Path:
        return self._folder / f"{name}.db"

    def url(self, name: Name) -> str:
        return f"sqlite:///{self._path(name)}"

    def store(self, name: Name) -> Store:
        return SqliteStore(self._path(name))

    async def make_empty(self, name: Name) -> None:
        for path in self._folder.glob(f"{name}.db*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    async def size_bytes(self, name: Name) -> int:
        return sum(path.stat().st_size for path in self._folder.glob(f"{name}.db*") if path.is_file())

    async def rows(self, name: Name, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self._path(name))) as connection:
            return connection.execute(query).fetchall()

    async def insert(self, name: Name, table: str, columns: Sequence[str], rows: list[tuple[object, ...]]) -> None:
        marks = ", ".join("?" for _ in columns)
        with closing(sqlite3.connect(self._path(name))) as connection, connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA cache_size = -200000")
            connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)

    async def settle(self) -> None:
        with closing(sqlite3.connect(self._path("filled"))) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """There is nothing."""


class PostgresDatabases(Databases):
    """Two databases of a private server, whose folder stays."""

    def __init__(self, folder: Path) -> None:
        programs = find_programs()
        if programs is None:
            raise SystemExit("This needs PostgreSQL's programs (Debian: apt-get install postgresql).")
        self._server = _KeptServer(programs, folder)
        self._server.start()

    def url(self, name: Name) -> str:
        return self._server.url.removesuffix("postgres") + name

    def store(self, name: Name) -> Store:
        return PostgresStore(self.url(name), app=APP)

    async def make_empty(self, name: Name) -> None:
        connection = await asyncpg.connect(self._server.url)
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    async def size_bytes(self, name: Name) -> int:
        ((size,),) = await self.rows(name, "SELECT pg_database_size(current_database())")
        return int(str(size))

    async def rows(self, name: Name, query: str) -> list[tuple[object, ...]]:
        try:
            connection = await asyncpg.connect(self.url(name), server_settings={"search_path": "sagad"})
        except asyncpg.InvalidCatalogNameError:
            return []
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    async def insert(self, name: Name, table: str, columns: Sequence[str], rows: list[tuple[object, ...]]) -> None:
        connection = await asyncpg.connect(self.url(name))
        await connection.copy_records_to_table(table, records=rows, columns=list(columns), schema_name="sagad")
        await connection.close()

    async def settle(self) -> None:
        connection = await asyncpg.connect(self.url("filled"))
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")
        await connection.close()

    def close(self) -> None:
        self._server.stop()


class _KeptServer(PostgresServer):
    """A server on a folder that stays; it syncs, as one that matters does."""

    def __init__(self, programs: Path, folder: Path) -> None:
        super().__init__(programs, _SETTINGS)
        self.folder.rmdir()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if "user" in self._as_account:
            os.chown(folder, self._as_account["user"], self._as_account["group"])

    def close(self) -> None:
        self.stop()


def databases(kind: Kind, folder: Path) -> Databases:
    """Return the databases of a kind, below a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return SqliteFiles(folder) if kind == "sqlite" else PostgresDatabases(folder / "postgres")
