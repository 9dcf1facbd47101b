"""Runs DBOS workflows of trivial steps when it is asked to, for `benchmarks.durable`; in an environment of its own.

Run: python -m benchmarks.dbos_peer sqlite:///FILE|postgresql+psycopg://... [--normal]
Reads lines of JSON, {"steps": 10, "at_a_time": 50, "seconds": 3}, and answers each with one: what came of it.
DBOS is as it comes, except that SQLite gets WAL and synchronous=NORMAL with `--normal`.
"""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from functools import partial
from importlib import import_module
from typing import Any

from benchmarks.repeating import repeated


def _set_normal(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


async def add_one(_: int, value: int) -> int:
    """Do nothing much."""
    return value + 1


async def main(flow: Any) -> None:
    """Answer what is asked."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        wanted = json.loads(line)
        steps = wanted.pop("steps")
        assert await flow(steps, 0) == steps
        print(json.dumps(asdict(await repeated(partial(flow, steps, 0), **wanted))), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--normal", action="store_true")
    arguments = parser.parse_args()
    if arguments.normal:
        sqlalchemy = import_module("sqlalchemy")
        sqlalchemy.event.listen(sqlalchemy.engine.Engine, "connect", _set_normal)
    dbos = import_module("dbos").DBOS
    dbos(
        config={"name": "peer", "system_database_url": arguments.url, "log_level": "ERROR", "enable_otlp": False},
    )
    step = dbos.step()(add_one)

    async def chain(steps: int, value: int) -> int:
        """Do the step so many times."""
        for at in range(steps):
            value = await step(at, value)
        return value

    workflow = dbos.workflow()(chain)
    dbos.launch()
    try:
        asyncio.run(main(workflow))
    finally:
        dbos.destroy()
