"""Opening a SQLite file: its modes, its pragmas, its schema."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from daemon.errors import StoreUnavailableError, StoreVersionError
from daemon.store.files import make_folder, open_file
from daemon.store.listing import contains
from daemon.store.schema import migrations

_STATEMENTS_KEPT = 256
_WAL_PAGES = 8_000
_WAL_KEPT_BYTES = 64 * 1024 * 1024


def open_database(
    path: Path, peers: Path, *, synchronous: str, busy_timeout_s: float, migrates: bool
) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """Create what is missing, bring the schema up to date, and return a connection that writes and one that reads.

    Raises:
        StoreUnavailableError: The file cannot be opened.
        StoreVersionError: A newer sagad wrote it; or an older one, and it is not to be brought up to date.
    """
    try:
        for folder in (path.parent, peers):
            make_folder(folder)
        # SQLite would create it with the modes of the process's umask; its other files take after this one.
        os.close(open_file(path))
        with _alone(peers / "opening"):
            writing = _connect(path, busy_timeout_s)
            writing.execute("PRAGMA journal_mode = WAL")
            _migrate(writing, path, migrates=migrates)
        writing.execute(f"PRAGMA synchronous = {synchronous}")
        # A page that is written again and again goes into the database once a checkpoint: few of them are less work.
        writing.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        writing.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}")
        reading = _connect(path, busy_timeout_s)
        reading.execute("PRAGMA query_only = ON")
        reading.create_function("contains", -1, _contains, deterministic=True)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailableError(f"The database {path} cannot be opened: {error}.") from error
    return writing, reading


def _connect(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    # Each connection is used by one thread only; but it is opened and closed by others.
    connection = sqlite3.connect(
        path,
        timeout=busy_timeout_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS_KEPT,
    )
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _contains(wanted: str, *texts: str | bytes | None) -> bool:
    return contains(wanted, texts)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes out of this block; a change to WAL and a migration must not meet each other."""
    lock = open_file(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _migrate(connection: sqlite3.Connection, path: Path, *, migrates: bool) -> None:
    """Apply the migrations that a database lacks, each in its own transaction with the number it leads to."""
    scripts = migrations("sqlite")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(scripts):
        connection.close()
        raise StoreVersionError(
            f"The database {path} has version {version} of the schema; this sagad knows none after {len(scripts)}. "
            "Run the newer sagad that wrote it, or restore a backup from before."
        )
    if version < len(scripts) and not migrates:
        connection.close()
        raise StoreVersionError(
            f"The database {path} has version {version} of the schema, and this sagad reads version {len(scripts)}. "
            "Its daemon brings it up to date when it starts; until then ask the sagad that wrote it."
        )
    for number, script in enumerate(scripts[version:], start=version + 1):
        try:
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
        except sqlite3.Error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
