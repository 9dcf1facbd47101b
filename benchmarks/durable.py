"""Runs a second of the durable engine beside DBOS 3.4, in the same run, each in a process of its own, both warm.

Run: python -m benchmarks.durable [--store sqlite|postgres] [--pairs 3] [--seconds 2] [--in FOLDER]
Trivial steps in a chain, each durable before the next one starts; a run is awaited by whoever started it. DBOS and ours
take turns (A B A B A B); printed are the medians of both rates and of the ratios of the pairs, the processor time of
each process a run (without PostgreSQL's own), which a busy machine changes least, and how many transactions of ours
were committed for each run, as the store's writer counts them: each is one fsync. Beside it what the disk allows: the
rows that a writer without an engine commits together, one for each that waits, and how many runs that would be.
Both have the database as it comes (SQLite: ours WAL and synchronous=FULL, DBOS a rollback journal and FULL), or WAL and
synchronous=NORMAL where that is said. PostgreSQL is a private server with its own defaults. SQLite files are written in
FOLDER, by default the repository's .bench; DBOS is installed into .bench/dbos, once.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.durable_limit import Writer, postgres_writer, sqlite_writer
from benchmarks.repeating import Repeated, repeated
from daemon import Ref, Step, step, workflow
from daemon.app import App, opened
from daemon.collector import Collector
from daemon.config import AppConfig, Config, StorageConfig
from daemon.store.postgres import PostgresStore
from daemon.store.sqlite import SqliteStore
from tests.services import private_postgres

HERE = Path(__file__).parent
BENCH = HERE.parent / ".bench"
PEER = "dbos==3.4.0"
WARM_UP_S = 0.5
ALONE_S = 5.0


@dataclass(frozen=True)
class Case:
    """What is measured, and what it has to be at least: times DBOS, or runs a second; 0 if nothing is asked."""

    title: str
    steps: int
    at_a_time: int
    times: float = 0
    rate: float = 0
    commits: float = 0


class Dbos:
    """A process that measures DBOS when it is asked to."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    async def repeated(self, steps: int, at_a_time: int, seconds: float) -> Repeated:
        """Return what came of runs of so many steps."""
        return await asyncio.to_thread(self._ask, {"steps": steps, "at_a_time": at_a_time, "seconds": seconds})

    def _ask(self, wanted: dict[str, float]) -> Repeated:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the process has no pipes")
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(f"DBOS gave up on {wanted}; what it said is above.")
        return Repeated(**json.loads(answer))


@contextmanager
def dbos(url: str, *options: str) -> Iterator[Dbos]:
    """Start DBOS on a database, having installed it if it is missing."""
    folder = BENCH / "dbos"
    python, made = str(folder / "bin" / "python"), folder / PEER
    if not made.exists():
        print("installing DBOS into .bench/dbos (once; half a minute)", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        install = ["-m", "pip", "--python", python, "install", "-qq", PEER]
        subprocess.run([sys.executable, *install], check=True)
        made.touch()
    with subprocess.Popen(
        [python, "-m", "benchmarks.dbos_peer", url, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=HERE.parent,
    ) as process:
        yield Dbos(process)


def chain(length: int) -> Any:
    """Return a workflow of so many trivial steps."""

    def counting(at: int) -> Step[int, int, int]:
        @step(f"add-{at}")
        async def add_one(value: int) -> int:
            return value + 1

        return add_one

    steps = [counting(at) for at in range(length)]

    @workflow(f"chain-of-{length}")
    def chained(value: Ref[int]) -> Ref[int]:
        for each in steps:
            value = each(value)
        return value

    return chained


class Ours:
    """An engine on a store."""

    def __init__(self, app: App, store: SqliteStore | PostgresStore) -> None:
        self._app = app
        self._store = store
        self._flows = {length: chain(length) for length in (3, 10)}

    async def repeated(self, steps: int, at_a_time: int, seconds: float) -> tuple[Repeated, float]:
        """Return what came of runs of so many steps, and how many transactions each of them cost."""
        async with self._app.services.handler_container() as container:
            flow = self._flows[steps](container)
            assert (await flow.run(0)).result == steps
            before = self._store.transactions
            found = await repeated(lambda: flow.run(0), at_a_time=at_a_time, seconds=seconds)
            return found, (self._store.transactions - before) / found.count


@asynccontextmanager
async def ours_on(url: str, store: SqliteStore | PostgresStore) -> AsyncIterator[Ours]:
    """Open an engine on a new store, as `open_container` does."""
    config = Config(app=AppConfig(name="bench"), storage=StorageConfig(url=url))
    async with opened(config, store=store) as app:
        yield Ours(app, store)


def verdict(value: float, least: float, unit: str = "") -> str:
    """Say whether a figure is what it has to be."""
    return f"  at least {least:g}{unit}: {'ok' if value >= least else 'BELOW'}" if least else ""


def at_most(value: float, most: float, unit: str = "") -> str:
    """Say the same of a figure that has to be small."""
    return f" (at most {most:g}{unit}: {'ok' if value <= most else 'ABOVE'})" if most else ""


async def measure(case: Case, ours: Ours, peer: Dbos, pairs: int, seconds: float) -> float:
    """Print one line, and return our rate."""
    await peer.repeated(case.steps, case.at_a_time, WARM_UP_S)
    await ours.repeated(case.steps, case.at_a_time, WARM_UP_S)
    found = []
    for _ in range(pairs):
        theirs = await peer.repeated(case.steps, case.at_a_time, 2 * seconds)  # of which there are few
        found.append((theirs, *await ours.repeated(case.steps, case.at_a_time, seconds)))
    rate = statistics.median(each.rate for _, each, _ in found)
    ratios = sorted(each.rate / theirs.rate for theirs, each, _ in found)
    ratio = statistics.median(ratios)
    cpu_us = statistics.median(each.cpu_us for _, each, _ in found)
    their_cpu_us = statistics.median(theirs.cpu_us for theirs, _, _ in found)
    commits = statistics.median(each for _, _, each in found)
    print(
        f"{case.title:52}{rate:9,.0f}/s{cpu_us:7,.0f} µs"
        f"{statistics.median(theirs.rate for theirs, _, _ in found):8,.1f}/s{their_cpu_us:8,.0f} µs"
        f"{ratio:7.1f}x ({ratios[0]:.1f} to {ratios[-1]:.1f}), CPU {their_cpu_us / cpu_us:.0f}x;"
        f"{commits:7.3f} commits a run{at_most(commits, case.commits)}"
        f"{verdict(ratio, case.times, 'x')}{verdict(rate, case.rate, '/s')}",
        flush=True,
    )
    return rate


async def measure_alone(title: str, ours: Ours, peer: Dbos) -> None:
    """Print how long one run takes that has the machine to itself."""
    await ours.repeated(10, 1, WARM_UP_S)
    theirs = await peer.repeated(10, 1, ALONE_S)
    found, commits = await ours.repeated(10, 1, ALONE_S)
    print(
        f"{title:52}p50 {found.p50_ms:.2f} ms{at_most(found.p50_ms, 8, ' ms')}, p99 {found.p99_ms:.2f} ms"
        f"{at_most(found.p99_ms, 19, ' ms')}; DBOS {theirs.p50_ms:.1f} and {theirs.p99_ms:.1f} ms; "
        f"{commits:.1f} commits a run",
        flush=True,
    )


async def measure_limit(writer: Writer, case: Case, rate: float, seconds: float) -> None:
    """Print how many runs their rows alone would allow."""
    await repeated(writer.put, at_a_time=case.at_a_time, seconds=WARM_UP_S)
    found = await repeated(writer.put, at_a_time=case.at_a_time, seconds=seconds)
    runs = found.rate / (case.steps + 1)
    print(
        f"{'  the rows alone, no engine':52}{runs:9,.0f}/s  {found.rate:,.0f} rows/s; ours is {rate / runs:.2f} of it"
    )


async def sqlite(folder: Path, pairs: int, seconds: float) -> None:
    """Measure on SQLite."""
    modes: list[tuple[Literal["FULL", "NORMAL"], list[str], list[Case]]] = [
        (
            "FULL",
            [],
            [
                Case("10 steps, 50 at a time, FULL; DBOS as it comes", 10, 50, times=30),
                Case("3 steps, 200 at a time, FULL; DBOS as it comes", 3, 200, rate=4_000, commits=0.2),
            ],
        ),
        ("NORMAL", ["--normal"], [Case("10 steps, 50 at a time, both WAL and NORMAL", 10, 50, times=20)]),
    ]
    for mode, options, cases in modes:
        with dbos(f"sqlite:///{folder}/dbos-{mode}.db", *options) as peer:
            path = folder / f"ours-{mode}.db"
            async with (
                ours_on(f"sqlite:///{path}", SqliteStore(path, synchronous=mode)) as ours,
                sqlite_writer(folder / f"limit-{mode}.db", mode) as writer,
            ):
                for case in cases:
                    rate = await measure(case, ours, peer, pairs, seconds)
                    await measure_limit(writer, case, rate, seconds)
                if mode == "FULL":
                    await measure_alone("10 steps, one run at a time, FULL", ours, peer)


async def postgres(pairs: int, seconds: float) -> None:
    """Measure on PostgreSQL."""
    cases = [
        Case("10 steps, 50 at a time, PostgreSQL", 10, 50, times=30),
        Case("3 steps, 200 at a time, PostgreSQL", 3, 200, commits=0.2),
    ]
    with (
        private_postgres(["listen_addresses=127.0.0.1"]) as server,
        dbos(server.url.replace("://", "+psycopg://").replace("/postgres", "/dbos")) as peer,
    ):
        async with (
            ours_on(server.url, PostgresStore(server.url, app="bench")) as ours,
            postgres_writer(server.url) as writer,
        ):
            for case in cases:
                rate = await measure(case, ours, peer, pairs, seconds)
                await measure_limit(writer, case, rate, seconds)
            await measure_alone("10 steps, one run at a time, PostgreSQL", ours, peer)


async def main(stores: list[str], pairs: int, seconds: float, folder: Path) -> None:
    """Measure and print every figure."""
    await Collector().start()
    print(f"{'':52}{'ours':>11}{'CPU a run':>10}{'DBOS':>10}{'CPU a run':>11}  ratio of the pairs")
    if "sqlite" in stores:
        with tempfile.TemporaryDirectory(dir=folder) as path:
            await sqlite(Path(path), pairs, seconds)
    if "postgres" in stores:
        await postgres(pairs, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=["sqlite", "postgres"], action="append")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--in", dest="folder", type=Path, default=BENCH)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(chosen.store or ["sqlite", "postgres"], chosen.pairs, chosen.seconds, chosen.folder.resolve()))
