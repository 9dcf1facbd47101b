"""What the store on SQLite promises beyond the contract: its file, its threads, and other processes."""

import asyncio
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median

import pytest

from daemon.errors import StoreUnavailableError, StoreVersionError
from daemon.store.port import RunFilter
from daemon.store.schema import migrations
from daemon.store.sqlite import SqliteStore
from daemon.store.writes import Enqueue, Outcome, PutStep
from tests.contract.records import APP, ME, delivery, run, started, step
from tests.integration.store_process import OWNER


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / "sagad.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(path, busy_timeout_s=0.01)
    await opened.open()
    yield opened
    await opened.aclose()


@contextmanager
def another_process(what: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process on the same file, past its first line."""
    command = [sys.executable, "-m", "tests.integration.store_process", what, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            process.stdout.readline()
            yield process
        finally:
            process.kill()


async def test_the_file_and_its_folder_are_made_for_their_owner_alone(store: SqliteStore, path: Path) -> None:
    await store.commit(started("1"))

    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in [path.parent, *path.parent.iterdir()]}

    assert modes == {
        "var": 0o700,
        "sagad.db": 0o600,
        "sagad.db-wal": 0o600,
        "sagad.db-shm": 0o600,
        "sagad.db-peers": 0o700,
    }


async def test_what_was_confirmed_is_there_after_it_was_closed_and_opened(path: Path) -> None:
    first, second = SqliteStore(path), SqliteStore(path)
    await first.open()
    await first.commit(started("1"))
    pending = first.commit(started("2"))
    await first.aclose()

    await second.open()
    found = (await second.runs(APP, RunFilter(), after=None, limit=10)).records
    await second.aclose()

    assert await pending is Outcome.APPLIED
    assert found == [run("2"), run("1")]


async def test_a_database_of_a_newer_sagad_is_refused_in_one_sentence(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")

    with pytest.raises(StoreVersionError) as refused:
        await SqliteStore(path).open()

    assert str(refused.value) == (
        f"The database {path} has version 99 of the schema; this sagad knows none after {len(migrations('sqlite'))}. "
        "Run the newer sagad that wrote it, or restore a backup from before."
    )


async def test_ten_stores_that_open_a_new_file_at_once_all_find_it_whole(path: Path) -> None:
    stores = [SqliteStore(path) for _ in range(10)]

    async with asyncio.TaskGroup() as group:
        for each in stores:
            group.create_task(each.open())
    outcomes = [await each.commit(started(str(number))) for number, each in enumerate(stores)]
    for each in stores:
        await each.aclose()

    assert outcomes == [Outcome.APPLIED] * 10


async def test_a_file_that_cannot_be_opened_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("no folder")

    with pytest.raises(StoreUnavailableError, match=r"The database .*taken/sagad\.db cannot be opened: "):
        await SqliteStore(tmp_path / "taken" / "sagad.db").open()


async def test_two_hundred_writers_share_their_fsyncs(store: SqliteStore) -> None:
    async def write(name: str) -> None:
        await store.commit(started(name))
        for seq in range(10):
            await store.commit(PutStep(step(name, f"s{seq}", seq=seq)))

    before = store.transactions
    async with asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(write(str(number)))

    assert (store.transactions - before) / (200 * 11) < 0.2


@pytest.mark.parametrize("poison", [{"wake_us": 2**70}, {"waiting_for": "\ud800"}, {"attempt": None}], ids=str)
async def test_a_commit_that_no_database_could_take_fails_alone(store: SqliteStore, poison: dict[str, object]) -> None:
    commits = [store.commit(started(str(number), **(poison if number == 7 else {}))) for number in range(20)]

    outcomes = [await each for number, each in enumerate(commits) if number != 7]
    with pytest.raises(ValueError, match="The database does not take this: "):
        await commits[7]

    assert outcomes == [Outcome.APPLIED] * 19
    assert len((await store.runs(APP, RunFilter(), after=None, limit=100)).records) == 19
    assert store.trouble == ""


async def test_while_the_database_is_locked_commits_wait_and_the_rest_says_so(store: SqliteStore, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = [asyncio.ensure_future(store.commit(started(str(number)))) for number in range(3)]

        with pytest.raises(StoreUnavailableError, match="database is locked"):
            await store.take(APP, "greet", ME, limit=1, now_us=0)
        trouble = store.trouble
        answered = [each.done() for each in waiting]
        found = (await store.runs(APP, RunFilter(), after=None, limit=10)).records
        other.execute("ROLLBACK")

    assert (answered, found) == ([False] * 3, [])
    assert trouble == "The database cannot be written: database is locked."
    assert [await each for each in waiting] == [Outcome.APPLIED] * 3
    assert store.trouble == ""


async def test_a_full_disk_loses_nothing_and_is_over_when_there_is_room(store: SqliteStore) -> None:
    await store._call(lambda connection: connection.execute("PRAGMA max_page_count = 40").fetchall())
    commits = [asyncio.ensure_future(store.commit(started(str(number), input=b" " * 20_000))) for number in range(50)]

    with pytest.raises(StoreUnavailableError, match="full"):
        await store.take(APP, "greet", ME, limit=1, now_us=0)
    stuck = [each for each in commits if not each.done()]
    store._writer._connection.execute("PRAGMA max_page_count = 100000").fetchall()
    outcomes = [await each for each in commits]

    assert stuck
    assert outcomes == [Outcome.APPLIED] * 50
    assert len((await store.runs(APP, RunFilter(), after=None, limit=100)).records) == 50


async def test_a_store_that_closes_in_trouble_says_what_it_could_not_write(path: Path) -> None:
    store = SqliteStore(path, busy_timeout_s=0.01)
    await store.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.ensure_future(store.commit(started("1")))

        await store.aclose()

    with pytest.raises(StoreUnavailableError, match="cannot be written"):
        await waiting


async def test_after_a_failed_fsync_nothing_is_written_any_more_and_that_is_reported(path: Path) -> None:
    reported: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    store = SqliteStore(path, sync_failed=reported.set_result)
    await store.open()
    failure = sqlite3.OperationalError("disk I/O error")
    failure.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC

    def fail(_: sqlite3.Connection) -> None:
        raise failure

    with pytest.raises(StoreUnavailableError):
        await store._call(fail)

    with pytest.raises(StoreUnavailableError, match=r"cannot be written: disk I/O error\."):
        await store.commit(started("1"))
    assert await reported is failure
    await store.aclose()


async def test_a_store_that_is_closed_refuses_at_once(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.aclose()
    await store.aclose()

    for attempt in (store.commit(started("1")), store.run(APP, "run-1"), store.bind(APP, "greet", [])):
        with pytest.raises(StoreUnavailableError, match="The store is not open"):
            await attempt


async def test_what_a_process_was_told_is_committed_survives_its_kill(store: SqliteStore, path: Path) -> None:
    with another_process("start", path) as process:
        assert process.stdout
        confirmed = [process.stdout.readline().strip() for _ in range(200)]
        process.send_signal(signal.SIGKILL)
        confirmed += [line.strip() for line in process.stdout if line.endswith("\n")]

    found = (await store.runs(APP, RunFilter(), after=None, limit=100_000)).records
    steps = await store.steps([each.key for each in found[:500]])

    assert {f"key-{name}" for name in confirmed} <= {each.key for each in found}
    assert all(len(each) == 1 for each in steps.values())


async def test_what_a_killed_process_owned_is_free_at_once_and_not_before(store: SqliteStore, path: Path) -> None:
    with another_process("own", path) as process:
        before = (await store.claim_runs(APP, ME, ["place-order"], limit=10), await take(store))
        process.kill()
        process.wait()

        claimed, taken = await store.claim_runs(APP, ME, ["place-order"], limit=10), await take(store)

    assert before == ([], [])
    assert claimed == [run("1", owner=ME, epoch=1)]
    assert taken == ["e1"]
    assert not (path.parent / "sagad.db-peers" / f"{OWNER}.lock").exists()


async def test_a_process_hears_of_another_ones_commit_within_a_tenth_of_a_second(
    store: SqliteStore, path: Path
) -> None:
    delays_ns = []
    with another_process("listen", path) as process:
        assert process.stdout
        for number in range(5):
            submitted_ns = time.monotonic_ns()
            await store.commit(Enqueue((delivery(f"e{number}"),)))
            delays_ns.append(int(await asyncio.to_thread(process.stdout.readline)) - submitted_ns)

    assert median(delays_ns) < 100_000_000


async def test_what_listeners_that_were_killed_left_behind_is_removed(store: SqliteStore, path: Path) -> None:
    with another_process("listen", path) as process:
        before = [each.suffix for each in (path.parent / "sagad.db-peers").iterdir()]
        process.kill()
        process.wait()

    await store.commit(Enqueue((delivery("e1"),)))
    await store.commit(started("1"))  # The writer tells the others of one transaction before it begins the next.
    after = [each.suffix for each in (path.parent / "sagad.db-peers").iterdir()]

    assert ".fifo" in before
    assert ".fifo" not in after


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("app = 'a' AND key < 'k' ORDER BY key DESC", "PRIMARY KEY (key<?)"),
        ("app = 'a' ORDER BY key DESC", "SCAN runs"),
        ("app = 'a' AND workflow = 'w' ORDER BY key DESC", "runs_by_workflow"),
        ("app = 'a' AND status = 'failed' AND status <> 'completed' ORDER BY key DESC", "runs_by_status"),
        ("run_id = 'r' AND app = 'a' ORDER BY attempt DESC", "runs_by_id"),
    ],
)
async def test_a_page_of_runs_is_never_sorted(store: SqliteStore, query: str, index: str) -> None:
    plan = await store._read(f"EXPLAIN QUERY PLAN SELECT * FROM runs WHERE {query} LIMIT 50")

    steps = [str(row[-1]) for row in plan]
    assert len(steps) == 1
    assert index in steps[0]


async def take(store: SqliteStore) -> list[str]:
    return [each.event_id for each in await store.take(APP, "greet", ME, limit=10, now_us=1_000)]
