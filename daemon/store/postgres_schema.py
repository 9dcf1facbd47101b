"""The schema of a PostgreSQL database, brought up to date."""

from daemon.errors import StoreEmptyError, StoreUnavailableError, StoreVersionError
from daemon.store.postgres_guards import mutex
from daemon.store.postgres_link import LOST, Link, reason
from daemon.store.schema import migrations

_OLDEST_SERVER = 13


async def migrate(link: Link, schema: str, *, migrates: bool = True) -> None:
    """Apply the migrations that a database lacks, all of them in one transaction, and one process at a time.

    Raises:
        StoreUnavailableError: The database does not let us, or is away.
        StoreVersionError: A newer sagad made it; or an older one did, and it is not to be changed. Or the server is too
            old.
        StoreEmptyError: Nobody made it, and it is not to be made.
    """
    check_server(link.get_server_version().major)
    try:
        async with link.transaction():
            await link.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
            sql, values = mutex("schema", schema)
            await link.execute(sql, *values)
            await _migrate(link, schema, migrates=migrates)
    except LOST as error:
        what = f"The schema {schema!r} of the database cannot be brought up to date: {reason(error)}."
        raise StoreUnavailableError(what) from error


def check_server(major: int) -> None:
    """Raise `StoreVersionError` for a server whose version is too old."""
    if major < _OLDEST_SERVER:
        raise StoreVersionError(
            f"The database's server is PostgreSQL {major}; sagad needs {_OLDEST_SERVER} or later. Upgrade it, or name "
            "another one in storage.url."
        )


async def _migrate(link: Link, schema: str, *, migrates: bool) -> None:
    scripts = migrations("postgres")
    is_there = await link.fetchval("SELECT to_regclass('schema_version')") is not None
    version = await link.fetchval("SELECT coalesce(max(version), 0) FROM schema_version") if is_there else 0
    if version > len(scripts):
        raise StoreVersionError(
            f"The database has version {version} of the schema {schema!r}; this sagad knows none after {len(scripts)}. "
            "Run the newer sagad that made it, or restore a backup from before."
        )
    if version == len(scripts):
        return
    if not migrates and version == 0:
        raise StoreEmptyError(f"There is nothing in the schema {schema!r} of the database yet.")
    if not migrates:
        raise StoreVersionError(
            f"The database has version {version} of the schema {schema!r}, and this sagad reads version "
            f"{len(scripts)}. Its daemon brings it up to date when it starts; until then ask the sagad that made it."
        )
    exists = await link.fetchval("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", schema)
    if not exists:  # whoever may not make one may use one that is there
        await link.execute(f'CREATE SCHEMA "{schema}"')
    if not is_there:
        await link.execute("CREATE TABLE schema_version (version BIGINT NOT NULL)")
    for number, script in enumerate(scripts[version:], start=version + 1):
        await link.execute(script)
        await link.execute("INSERT INTO schema_version (version) VALUES ($1)", number)
