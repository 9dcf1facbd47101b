"""How PostgreSQL finds what is old enough: it reads what it deletes, and nothing that is kept."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import astuple, dataclass

import asyncpg
import pytest

from daemon.clock import new_id
from daemon.store import postgres_retention as retention
from daemon.store.model import RunRecord, RunStatus, StepRecord
from daemon.store.postgres import PostgresStore
from daemon.store.sql import columns
from tests.contract.records import APP, run, step
from tests.integration.test_list_plans import SETTINGS
from tests.services import own_schema

RUNS = 10_000
RARE = 200  # one run of so many is of the workflow that is not kept for as long
DAY_US = 86_400_000_000
LIMIT = 20
CHILDREN = 5
STEPS = 2
_READ = """
    SELECT sum(coalesce(idx_tup_fetch, 0) + seq_tup_read)::bigint
    FROM pg_stat_xact_user_tables WHERE relname IN ('runs', 'steps')"""


@dataclass(frozen=True, slots=True)
class Laden:
    """A database with many old runs."""

    link: asyncpg.Connection

    async def pruned(self, *, workflow: str | None, without: tuple[str, ...] = (), app: str = APP) -> tuple[int, int]:
        """Return how many runs were deleted, and how many rows of runs and steps were read for that."""
        async with self.link.transaction():
            before = await self._read()
            deleted = await retention.prune_runs(
                self.link, app=app, before_us=RUNS * DAY_US, workflow=workflow, without=without, limit=LIMIT
            )
            return deleted, await self._read() - before

    async def _read(self) -> int:
        rows: int = await self.link.fetchval(_READ)
        return rows


def old_runs() -> Iterator[RunRecord]:
    """Runs of a day each, of which one workflow's are rare; some of these have children."""
    for number in range(RUNS):
        is_rare = number % RARE == RARE - 1
        root = run(
            f"{number}",
            key=new_id(number * DAY_US),
            created_us=number * DAY_US,
            ended_us=number * DAY_US,
            workflow="rare" if is_rare else "kept",
            status=RunStatus.COMPLETED,
        )
        yield root
        for at in range(CHILDREN * is_rare):
            of = {"root_key": root.key, "parent_key": root.key, "workflow": "rare", "created_us": root.created_us}
            yield run(f"{number}-{at}", key=new_id(root.created_us), status=RunStatus.COMPLETED, ended_us=1, **of)


def their_steps(runs: list[RunRecord]) -> Iterator[StepRecord]:
    for record in runs:
        for at in range(STEPS):
            yield step("", f"step-{at}", run_key=record.key)


@pytest.fixture(params=[False, True], ids=["uncounted", "counted"])
async def laden(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[Laden]:
    """A database that knows nothing of what is in it, or all."""
    async with own_schema(postgres_url) as schema:
        store = PostgresStore(postgres_url, app=APP, schema=schema)
        await store.open()
        link = await asyncpg.connect(postgres_url, server_settings={**SETTINGS, "search_path": schema})
        runs = list(old_runs())
        for table, of, rows in (("runs", RunRecord, runs), ("steps", StepRecord, list(their_steps(runs)))):
            await link.copy_records_to_table(table, records=map(astuple, rows), columns=list(columns(of)))
        if request.param:
            await link.execute("ANALYZE")
        yield Laden(link)
        await link.close()
        await store.aclose()


async def test_runs_of_a_workflow_are_found_among_many_that_are_kept_for_longer(laden: Laden) -> None:
    deleted, read = await laden.pruned(workflow="rare")

    assert deleted == LIMIT
    assert read < 10 * LIMIT * (1 + CHILDREN) * (1 + STEPS)


async def test_runs_of_all_but_a_few_workflows_are_found_among_many_of_these(laden: Laden) -> None:
    deleted, read = await laden.pruned(workflow=None, without=("kept",))

    assert deleted == LIMIT
    assert read < 10 * LIMIT * (1 + CHILDREN) * (1 + STEPS)


@pytest.mark.parametrize(("workflow", "app"), [("no-such-workflow", APP), ("kept", "bank"), (None, "bank")])
async def test_where_nothing_is_to_be_deleted_hardly_anything_is_read(
    laden: Laden, workflow: str | None, app: str
) -> None:
    deleted, read = await laden.pruned(workflow=workflow, app=app)

    assert deleted == 0
    assert read < LIMIT
