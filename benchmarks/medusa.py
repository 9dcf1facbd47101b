"""Runs a second in memory beside Medusa's workflows-sdk, in the same run, on one core, both warm.

Run: python -m benchmarks.medusa [--pairs 3] [--seconds 1] [--only chain,failing,parallel,hello]
The workflows of `in_memory`: ten trivial steps in a chain, ten of which the last fails and nine are undone, ten at the
same time, and the two-step hello world; with a plain value and with a small model, one run after the other and a
hundred at a time. Medusa and ours take turns (A B A B A B), and each keeps its process, so that neither starts cold.
Printed are the medians of both rates and of the ratios of the pairs. Medusa gets plain objects where ours gets pydantic
models: it keeps what it is given, ours stores and checks every value as JSON of its type.
The garbage collector is set as the daemon sets it.
Needs node and npm, which install the pinned packages into .bench/medusa, once; without them ours runs alone.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import svcs

from benchmarks.in_memory import CONCURRENT, concurrent, on_models, on_numbers, sequential
from daemon.collector import Collector
from daemon.container import Services
from daemon.engine.memory import memory_engine
from daemon.workflow.port import Engine

HERE = Path(__file__).parent
INSTALLED = HERE.parent / ".bench" / "medusa"
WARM_UP_S = 1.0
SIZES = (1, CONCURRENT)

# What a flow is called, and how many times as fast as Medusa it has to be at least, and is meant to be.
FLOWS = {
    "chain": ("ten steps in a chain", 4.0, 6.0),
    "failing": ("ten steps, the last fails", 3.0, 4.0),
    "parallel": ("ten steps at the same time", 1.7, 3.0),
    "hello": ("two-step hello world", 3.0, 3.0),
}


class Medusa:
    """A node process that measures Medusa when it is asked to."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def rate(self, flow: str, payload: str, size: int, seconds: float) -> float:
        """Return runs a second, `size` at a time."""
        wanted = {"flow": flow, "payload": payload, "concurrency": size, "seconds": seconds}
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the process has no pipes")
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(f"Medusa gave up on {wanted}; what it said is above.")
        found = json.loads(answer)
        return float(found["runs"] / found["seconds"])


@contextmanager
def medusa() -> Iterator[Medusa | None]:
    """Start Medusa, having installed it if it is missing; None where that cannot be."""
    node = shutil.which("node")
    if node is None or not _install():
        print("Medusa needs node and npm, and what npm installs: ours runs alone.\n")
        yield None
        return
    environment = {**os.environ, "NODE_PATH": str(INSTALLED / "node_modules"), "NODE_ENV": "production"}
    with subprocess.Popen(
        [node, str(HERE / "medusa" / "workflows.cjs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        yield Medusa(process)


def _install() -> bool:
    """Install the pinned packages, unless they are there; tell whether they are."""
    wanted = HERE / "medusa" / "package.json"
    there = INSTALLED / "package.json"
    if (INSTALLED / "node_modules").is_dir() and there.is_file() and there.read_text() == wanted.read_text():
        return True
    npm = shutil.which("npm")
    if npm is None:
        return False
    INSTALLED.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(wanted, INSTALLED / ".package.json")
    (INSTALLED / ".package.json").replace(there)
    print("installing Medusa into .bench/medusa (once; half a minute)", file=sys.stderr)
    quietly = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    done = subprocess.run([npm, "install", *quietly], cwd=INSTALLED, stdout=sys.stderr, check=False)
    if done.returncode:
        there.unlink()
    return done.returncode == 0


async def our_rate(container: svcs.Container, flow: Any, value: Any, size: int, seconds: float) -> float:
    """Return runs a second, `size` at a time; ours."""

    async def run() -> object:
        return await flow(container).run(value, raise_on_error=False)

    return await (sequential(run, seconds) if size == 1 else concurrent(run, seconds))


def show(title: str, payload: str, size: int, pairs: list[tuple[float | None, float]], least: float) -> None:
    """Print one line: the medians of the rates and of the ratios, and whether they are what they have to be."""
    ours = statistics.median(rate for _, rate in pairs)
    theirs = [(peer, rate / peer) for peer, rate in pairs if peer is not None]
    line = f"{title:28}{payload:8}{size:>4} at a time{ours:12,.0f}/s"
    if theirs:
        ratios = sorted(ratio for _, ratio in theirs)
        ratio = statistics.median(ratios)
        verdict = "ok" if ratio >= least else "BELOW"
        peer = statistics.median(peer for peer, _ in theirs)
        line += f"{peer:12,.0f}/s{ratio:8.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f})  at least {least:g}x: {verdict}"
    print(line, flush=True)


async def main(pairs: int, seconds: float, only: list[str]) -> None:
    """Measure and print every figure."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # the node process, which is to come, inherits it
    services = Services()
    async with services, services.handler_container() as container:
        services.register_value(Engine, memory_engine(container))
        flows = list(zip(FLOWS.items(), on_numbers(), on_models(), strict=True))
        await Collector().start()
        with medusa() as peer:
            print(f"{'':28}{'payload':8}{'':14}{'ours':>14}{'Medusa':>14}{'ratio of the pairs':>26}")
            for (name, (title, least, aim)), plain, model in flows:
                if name not in only:
                    continue
                for payload, (flow, value) in (("plain", plain), ("model", model)):
                    for size in SIZES:
                        if peer is not None:
                            peer.rate(name, payload, size, WARM_UP_S)
                        await our_rate(container, flow, value, size, WARM_UP_S / 4)
                        found = []
                        for _ in range(pairs):
                            theirs = peer.rate(name, payload, size, seconds) if peer is not None else None
                            found.append((theirs, await our_rate(container, flow, value, size, seconds)))
                        show(title, payload, size, found, least)
                print(f"{'':28}the aim is {aim:g}x" if peer is not None else "")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", default=",".join(FLOWS))
    arguments = parser.parse_args()
    asyncio.run(main(arguments.pairs, arguments.seconds, arguments.only.split(",")))
