"""How many events a second go from RabbitMQ through a handler, and through a durable workflow of ten steps on SQLite.

Run: python -m benchmarks.events [--events 10000] [--pairs 3] [--only handler,logged,durable,alone]
On the broker of SAGAD_TEST_AMQP_URL, or on a private one. Events (300 bytes of JSON, persistent) are on a quorum queue
before the daemon starts, which takes 200 ahead and acknowledges them one by one; the rate and the processor time are
taken between the first and the last one that was handled. Ours and its peers take turns (A B A B A B); printed are the
medians, and those of the ratios of the pairs. The broker and what publishes are on the first core, the daemon or its
peer on the last one.

handler   a handler that does nothing, log at warning; FastStream without its log, which has no inbox; aio-pika alone
logged    the same, a line of the log for each event; FastStream with the log that it comes with
durable   ten steps, each durable before the next; a loop that commits as many rows by hand, without an engine
alone     the same, one event at a time

How long single events take: in the first two cases from being published until the handler has it, at 1,000 a second
once the others are done; in `alone` from the delivery to the acknowledgement, for which our log is at info.

`--growth` has one daemon handle 200,000 events instead, and prints its memory after 20,000 of them and at the end.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from benchmarks.events_daemon import BENCH, WITHIN_S, Found, Ours, Peer, load, on_core
from tests.acceptance.process import until
from tests.services import private_rabbit

PEER = "faststream[rabbit]==0.7.8"
PACED = 2_000
GROWN = (20_000, 200_000)


class Side(Protocol):
    """What is measured."""

    title: str

    def measure(self, url: str, events: int, paced: int) -> Found:
        """Have it handle the events."""


@dataclass(frozen=True)
class Case:
    """Ours, and the peers that it is compared with, the one that counts first.

    Attributes:
        goal: What is asked.
        share: What part of the events it is for.
        paced: How many come at an even pace afterwards.
        by_time: Whether single events are compared by how long they take, not by how many come a second.
    """

    title: str
    goal: str
    sides: Sequence[Side]
    share: float = 1.0
    paced: int = 0
    by_time: bool = False

    def run(self, url: str, events: int, pairs: int) -> None:
        """Print a line for each side."""
        events = max(10, int(events * self.share))
        found: list[list[Found]] = [[] for _ in self.sides]
        for _ in range(pairs):
            for side, results in zip(self.sides, found, strict=True):
                results.append(side.measure(url, events, self.paced))
        print(f"\n{self.title}: {events:,} events, {pairs} pairs; goal {self.goal}")
        for side, results in zip(self.sides, found, strict=True):
            self._report(side, results, found[0], events)

    def _report(self, side: Side, results: list[Found], ours: list[Found], events: int) -> None:
        rates = sorted((events - 1) / took[0] for took, _ in results)
        cpu_us = statistics.median(took[1] / (events - 1) for took, _ in results) * 1e6
        line = f"  {side.title:<26} {statistics.median(rates):>7,.0f}/s ({rates[0]:,.0f}-{rates[-1]:,.0f})"
        line += f" {cpu_us:>6,.0f} µs CPU {max(took[2] for took, _ in results):>4.0f} MiB"
        if all(lasted_ms for _, lasted_ms in results):
            p50, p99 = (statistics.median(at(each, part) for _, each in results) for part in (0.5, 0.99))
            line += f"   p50 {p50:.1f} p99 {p99:.1f} ms"
        if results is not ours:
            line += f"   ours x {statistics.median(self._ratios(ours, results)):.2f}"
        print(line, flush=True)

    def _ratios(self, ours: list[Found], theirs: list[Found]) -> list[float]:
        if self.by_time:
            return [at(one[1], 0.5) / at(other[1], 0.5) for one, other in zip(ours, theirs, strict=True)]
        return [other[0][0] / one[0][0] for one, other in zip(ours, theirs, strict=True)]


def at(sorted_ms: list[float], part: float) -> float:
    """Return what so large a part of the values is below."""
    return sorted_ms[int(len(sorted_ms) * part)]


def faststream() -> str:
    """Return the Python that has FastStream, having installed it if it is missing."""
    folder = BENCH / "faststream"
    python, made = str(folder / "bin" / "python"), folder / PEER
    if not made.exists():
        print("installing FastStream into .bench/faststream (once; half a minute)", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", "-qq", PEER], check=True)
        made.touch()
    return python


def cases() -> dict[str, Case]:
    """Return what can be measured."""
    python = faststream()
    bare = Peer("bare", "aio-pika alone")
    quiet = Peer("faststream", "FastStream, no log", python=python)
    logged = Peer("faststream-logged", "FastStream, its log", python=python)
    by_hand, one_by_one = Peer("floor", "by hand"), Peer("floor", "by hand", prefetch=1)
    one_line = Ours("logged", level="info")
    alone = Ours("alone", steps=10, level="info", prefetch=1)
    return {
        "handler": Case("handler", "x 1.0 of FastStream", [Ours("handler"), quiet, bare], paced=PACED),
        "logged": Case("logged", "x 1.1 of FastStream", [one_line, logged], paced=PACED),
        "durable": Case("durable", "x 0.4 of by hand, 0.6 aimed at", [Ours("durable", steps=10), by_hand], share=0.3),
        "alone": Case("alone", "p50 at most x 2.5", [alone, one_by_one], share=0.05, by_time=True),
    }


def growth(url: str) -> None:
    """Print a daemon's memory after some and after many events."""
    first, last = GROWN
    ours = Ours("growth")
    BENCH.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=BENCH) as folder,
        ours.application(url, Path(folder), first, last - first) as (application, broker),
        ours.running(application) as (daemon, result),
    ):
        sizes = []
        for begin, end in ((0, first), (first, last)):
            result.unlink(missing_ok=True)
            asyncio.run(load(url, broker.exchange, "order.placed", end, first=begin))
            until(result.exists, f"{end} events", timeout_s=WITHIN_S)
            sizes.append(psutil.Process(daemon).memory_info().rss / 2**20)
    grown = (sizes[1] / sizes[0] - 1) * 100
    print(f"{sizes[0]:.1f} MiB after {first:,} events, {sizes[1]:.1f} after {last:,}: {grown:+.1f} %; goal at most 2 %")


@contextmanager
def broker_url() -> Iterator[str]:
    """Give the address of a RabbitMQ."""
    if url := os.environ.get("SAGAD_TEST_AMQP_URL"):
        yield url
    else:
        with private_rabbit() as node:
            yield node.url


def main() -> None:
    """Print what was asked for."""
    arguments: Any = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--events", type=int, default=10_000)
    arguments.add_argument("--pairs", type=int, default=3)
    arguments.add_argument("--only", default="handler,logged,durable,alone")
    arguments.add_argument("--growth", action="store_true")
    chosen = arguments.parse_args()
    print("python -m benchmarks.events", *sys.argv[1:])
    with on_core(0), broker_url() as url:
        if chosen.growth:
            growth(url)
            return
        known = cases()
        for name in chosen.only.split(","):
            known[name].run(url, chosen.events, chosen.pairs)


if __name__ == "__main__":
    main()
