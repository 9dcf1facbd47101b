"""Whatever is asked of a store, in whatever order, it does as its protocol says: as a small model of it does."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from daemon.store.memory import MemoryStore
from daemon.store.port import Store
from daemon.store.postgres import PostgresStore
from daemon.store.sqlite import SqliteStore
from tests.contract.queue_rules import QueueMachine
from tests.contract.store_driver import StoreDriver
from tests.contract.store_rules import StoreMachine

SETTINGS = settings(
    deadline=None,
    derandomize=True,
    stateful_step_count=50,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
EXAMPLES = {"memory": 50, "sqlite": 30, "postgres": 30}


@pytest.mark.parametrize("machine", [StoreMachine, QueueMachine])
@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_store_does_what_its_model_does(
    kind: str, machine: type[StoreDriver], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    def made() -> Store:
        if kind == "postgres":
            url, schema = request.getfixturevalue("postgres_url"), request.getfixturevalue("postgres_schema")
            return PostgresStore(url, app="machine", schema=schema)
        return MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "sagad.db", synchronous="NORMAL")

    with asyncio.Runner() as runner:
        store = made()
        runner.run(store.open())
        try:
            around = {"store": store, "runner": runner, "takes_anything": kind == "memory"}
            its_machine = type("Machine", (machine,), around)
            run_state_machine_as_test(its_machine, settings=settings(SETTINGS, max_examples=EXAMPLES[kind]))
        finally:
            runner.run(store.aclose())
