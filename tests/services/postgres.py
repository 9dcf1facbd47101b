"""A private PostgreSQL server."""

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg

from tests.services.container import Container, docker_answers
from tests.services.process import Server, ServiceError, free_port
from tests.services.programs import find_or_install

# It has to survive the tests, not a power cut.
SETTINGS = ("fsync=off", "shared_buffers=16MB", "max_connections=60", "listen_addresses=127.0.0.1")
_PATIENCE_S = 60.0
_STILL_THERE = b"pre-existing shared memory block"

# A table that a test has used has a handful of rows: to truncate it, which makes new files, takes longer.
_EMPTY = """
    DO $$ DECLARE statement TEXT; BEGIN
        FOR statement IN
            SELECT format('DELETE FROM %I.%I', schemaname, tablename) FROM pg_tables
            WHERE schemaname = '{schema}' AND tablename <> 'schema_version'
        LOOP EXECUTE statement; END LOOP;
    END $$"""


class PostgresServer(Server):
    """A PostgreSQL of one's own on 127.0.0.1, apart from any other on this machine; user `sagad`, no password.

    Args:
        programs: The folder of `initdb`, `postgres` and `pg_isready`.
        settings: What differs from the server's own defaults.
    """

    def __init__(self, programs: Path, settings: Sequence[str] = SETTINGS) -> None:
        super().__init__(account="postgres")
        self._programs = programs
        self._settings = settings
        self.port = free_port()
        self.url = f"postgresql://sagad@127.0.0.1:{self.port}/postgres"
        self._env: dict[str, str] = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "HOME": str(self.folder)}

    def start(self) -> None:
        if self._processes:
            return
        data = self.folder / "data"
        if not data.exists():
            options = ["--username=sagad", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
            self.call([f"{self._programs}/initdb", f"--pgdata={data}", *options], self._env)
        # Its socket file goes into its folder, not into the machine's.
        places = ["-D", f"{data}", "-p", f"{self.port}", "-k", f"{self.folder}"]
        options = [word for setting in self._settings for word in ("-c", setting)]
        deadline_s = time.monotonic() + _PATIENCE_S
        while not self._comes_up([f"{self._programs}/postgres", *places, *options]):
            if time.monotonic() > deadline_s:
                raise ServiceError(f"the sessions of a PostgreSQL that was killed still live after {_PATIENCE_S:g} s")
            time.sleep(0.05)

    def _comes_up(self, command: Sequence[str]) -> bool:
        """Start the server and return once it answers; False if sessions of one that was killed are not gone yet."""
        said_before = len(self.log_path.read_bytes()) if self.log_path.exists() else 0
        process = self.spawn(command, self._env)
        try:
            self.await_answer(process, self._answers, timeout_s=_PATIENCE_S)
        except ServiceError:
            if process.poll() is None or _STILL_THERE not in self.log_path.read_bytes()[said_before:]:
                raise
            self._processes.remove(process)
            return False
        return True

    def stop(self) -> None:
        self._end(signal.SIGINT)  # the fast shutdown, which does not wait for clients

    def close(self) -> None:
        self.stop()  # killed, it would leave its shared memory behind
        super().close()

    def _answers(self) -> bool:
        command = [f"{self._programs}/pg_isready", "--quiet", "--host=127.0.0.1", f"--port={self.port}"]
        return subprocess.run(command, env=self._env, check=False).returncode == 0


class PostgresContainer(Container):
    """A PostgreSQL of one's own in a container, for a machine that has Docker and no PostgreSQL."""

    def __init__(self) -> None:
        super().__init__("postgres:16", port=5432, env={"POSTGRES_USER": "sagad", "POSTGRES_HOST_AUTH_METHOD": "trust"})
        self.url = f"postgresql://sagad@127.0.0.1:{self.port}/postgres"

    def answers(self) -> bool:
        # The image first runs a server for its set-up, which listens on no address.
        command = ["docker", "exec", self.name, "pg_isready", "--quiet", "--host=127.0.0.1"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def private_postgres(settings: Sequence[str] = SETTINGS) -> PostgresServer | PostgresContainer:
    """Return a PostgreSQL of one's own, not yet started; one in a container has its own settings.

    Raises:
        ServiceError: There is none on this machine, it cannot be installed, and there is no Docker.
    """
    if programs := find_or_install("postgresql", find_programs):
        return PostgresServer(programs, settings)
    if docker_answers():
        return PostgresContainer()
    raise ServiceError(
        "The tests need PostgreSQL. Install it (Debian: apt-get install postgresql), start Docker, "
        "or name one that runs: SAGAD_TEST_POSTGRES_URL=postgresql://user:password@host/database"
    )


def find_programs() -> Path | None:
    """Return the folder of PostgreSQL's server programs, if this machine has them; the newest version's."""
    on_path = shutil.which("initdb")
    candidates = [
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True),
        *sorted(Path("/usr").glob("pgsql-*/bin"), reverse=True),
        *([Path(on_path).resolve().parent] if on_path else []),
    ]
    needed = ("initdb", "postgres", "pg_isready")
    return next((folder for folder in candidates if all((folder / name).exists() for name in needed)), None)


@asynccontextmanager
async def own_schema(url: str) -> AsyncIterator[str]:
    """Give the name of a schema that nobody else has; what is in it at the end is deleted."""
    name = f"sagad_{secrets.token_hex(6)}"
    try:
        yield name
    finally:
        await _execute(url, f"DROP SCHEMA IF EXISTS {name} CASCADE")


@contextmanager
def shared_schema(url: str) -> Iterator[str]:
    """As `own_schema`, for many event loops, one after the other."""
    name = f"sagad_{secrets.token_hex(6)}"
    try:
        yield name
    finally:
        asyncio.run(_execute(url, f"DROP SCHEMA IF EXISTS {name} CASCADE"))


@asynccontextmanager
async def emptied(url: str, schema: str) -> AsyncIterator[str]:
    """Give a schema that nobody uses at the moment; it keeps its tables, and loses their rows at the end."""
    try:
        yield schema
    finally:
        await _execute(url, emptying(schema))


def emptying(schema: str) -> str:
    """Return the statement that deletes all rows of a schema's tables."""
    return _EMPTY.format(schema=schema)


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
