"""What a store with a million ended runs costs: python -m benchmarks.million --store sqlite|postgres [--runs N].

Fills a store in .bench/million, once for each N, with copies of real runs of ten steps; the next time it is used again.
Then, each beside an empty store: the throughput of ten-step runs; pages of `GET /api/runs` over HTTP, each filter alone
and together with others; commands; the start with a hundred unfinished runs; and retention while runs go on. Ends with
status 1 if a goal is missed. `--only throughput,pages,start,retention` leaves the others out.
"""

import argparse
import asyncio
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.million import pages, starting, throughput
from benchmarks.million.databases import APP, Databases, Kind, Name, databases
from benchmarks.million.fill import copy, fill, note_deleted
from tests.acceptance.application import Application

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / ".bench" / "million"
FEW = 1_000
PARTS = ("throughput", "pages", "start", "retention")


def application(data: Databases, name: Name, folder: Path) -> Application:
    """Return the application on one of the stores; nothing is too old for it."""
    settings = {"app.name": APP, "storage.url": data.url(name), "storage.retention_s": 0}
    return Application(folder / f"{name}-application", settings, parts=(HERE / "application",))


def measure(data: Databases, kind: Kind, runs: int, only: Sequence[str], *, a_round: int, rounds: int) -> bool:
    """Print all figures, and tell whether all goals are met."""
    folder = FOLDER / f"{kind}-{runs}"
    asyncio.run(fill(data, folder, runs))
    print(f"{runs:,} runs of ten steps, {asyncio.run(data.size_bytes('filled')) / 1e9:.2f} GB in {folder}")
    good = []
    if "throughput" in only:
        good.append(asyncio.run(throughput.compare(data, runs=a_round, rounds=rounds)))
    asyncio.run(data.make_empty("empty"))
    filled, empty = (application(data, name, folder) for name in ("filled", "empty"))
    middle_id = f"order-{runs // 2 | 1}"
    if "pages" in only:
        asyncio.run(copy(data, "empty", FEW))
        with filled.daemon() as daemon, empty.daemon() as other:
            good.append(pages.show_pages(daemon, other, middle_id))
        pages.show_commands(filled, empty, middle_id)
        asyncio.run(data.make_empty("empty"))
    if "start" in only:
        with empty.daemon():
            pass  # has the schema made
        good.append(starting.show_starts(filled, empty, kind, repeat=5))
    if "retention" in only:
        deleted = min(5_000, runs // 20)
        asyncio.run(throughput.prune(data, deleted=deleted))
        note_deleted(folder, deleted)
    for each in (filled, empty):
        shutil.rmtree(each.folder)
    asyncio.run(data.make_empty("empty"))
    return all(good)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--a-round", type=int, default=1_500)
    parser.add_argument("--rounds", type=int, default=6)
    asked = parser.parse_args()
    print(f"python -m benchmarks.million --store {asked.store} --runs {asked.runs} --only {asked.only}")
    data = databases(asked.store, FOLDER / f"{asked.store}-{asked.runs}")
    try:
        is_good = measure(
            data, asked.store, asked.runs, asked.only.split(","), a_round=asked.a_round, rounds=asked.rounds
        )
    finally:
        data.close()
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
