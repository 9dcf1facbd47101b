"""Another process on a database file: started by a test, it says on stdout what it has done.

Run: python -m tests.integration.store_process start|own|listen PATH
"""

import asyncio
import itertools
import sys
import time
from pathlib import Path

from daemon.store.sqlite import SqliteStore
from daemon.store.writes import Enqueue, PutStep
from tests.contract.records import APP, delivery, started, step

OWNER = "another-process"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def start(store: SqliteStore) -> None:
    """Start runs without end, each with its checkpoint; print a run once it is known to be committed."""
    for number in itertools.count():
        name = f"{number:08}"
        await store.commit(started(name, owner=OWNER), PutStep(step(name, "pay")))
        say(name)


async def own(store: SqliteStore) -> None:
    """Own a run and a delivery, and go on living."""
    await store.register(APP, OWNER, lease_s=3_600)
    await store.commit(started("1", owner=OWNER), Enqueue((delivery("e1"),)))
    await store.take(APP, "greet", OWNER, limit=1, now_us=1_000)
    say("owned")
    await asyncio.Event().wait()


async def listen(store: SqliteStore) -> None:
    """Print the monotonic time of every hint."""
    store.on_hint(lambda: say(str(time.monotonic_ns())))
    say("listening")
    await asyncio.Event().wait()


async def main(what: str, path: str) -> None:
    store = SqliteStore(Path(path))
    await store.open()
    await {"start": start, "own": own, "listen": listen}[what](store)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
