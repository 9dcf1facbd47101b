"""Databases of both engines, to be put into the state in which an older sagad left them."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from daemon.store.port import Store
from daemon.store.postgres import PostgresStore
from daemon.store.sqlite import SqliteStore
from tests.contract.records import APP


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, in small letters."""

    name: str
    type: str


class Database(Protocol):
    """One that a store is to be opened on."""

    async def run(self, script: str) -> None:
        """Run statements without values."""

    async def reach(self, version: int) -> None:
        """Note which version of the schema it has."""

    async def columns(self) -> dict[str, list[Column]]:
        """Return what tables there are, but for the one that says the version."""

    async def insert(self, table: str, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Put rows into a table."""

    async def rows(self, table: str, names: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return the rows of a table."""

    def store(self) -> Store:
        """Return a store on it, not yet open."""


class SqliteFile:
    """A file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def run(self, script: str) -> None:
        with closing(sqlite3.connect(self._path)) as link:
            link.executescript(script)

    async def reach(self, version: int) -> None:
        await self.run(f"PRAGMA user_version = {version}")

    async def columns(self) -> dict[str, list[Column]]:
        with closing(sqlite3.connect(self._path)) as link:
            names = [name for (name,) in link.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            return {
                name: [Column(row[1], row[2].lower()) for row in link.execute(f"PRAGMA table_info({name})")]
                for name in names
                if not name.startswith("sqlite_")
            }

    async def insert(self, table: str, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        marks = ", ".join("?" for _ in names)
        with closing(sqlite3.connect(self._path)) as link, link:
            link.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)

    async def rows(self, table: str, names: Sequence[str]) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._path)) as link:
            return sorted(link.execute(f"SELECT {', '.join(names)} FROM {table}"), key=repr)

    def store(self) -> Store:
        return SqliteStore(self._path)


class PostgresSchema:
    """A schema of its own."""

    def __init__(self, url: str, schema: str, link: asyncpg.Connection) -> None:
        self._url = url
        self._schema = schema
        self._link = link

    async def run(self, script: str) -> None:
        await self._link.execute(script)

    async def reach(self, version: int) -> None:
        await self.run("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
        await self._link.execute("INSERT INTO schema_version (version) VALUES ($1)", version)

    async def columns(self) -> dict[str, list[Column]]:
        found: dict[str, list[Column]] = {}
        query = "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = $1"
        for table, name, of in await self._link.fetch(f"{query} ORDER BY ordinal_position", self._schema):
            if table != "schema_version":
                found.setdefault(table, []).append(Column(name, of))
        return found

    async def insert(self, table: str, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        await self._link.copy_records_to_table(table, records=rows, columns=names, schema_name=self._schema)

    async def rows(self, table: str, names: Sequence[str]) -> list[tuple[Any, ...]]:
        return sorted(map(tuple, await self._link.fetch(f"SELECT {', '.join(names)} FROM {table}")), key=repr)

    def store(self) -> Store:
        return PostgresStore(self._url, app=APP, schema=self._schema)
