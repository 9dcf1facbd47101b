"""Fills a store with runs that have ended: copies of real ones, with ids, times and orders of their own.

Every kind of run (workflow, trigger, end) is run once by the engine; its rows are the pattern of all of its kind.
"""

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.million.application.workflows.orders import (
    Order,
    audit_order,
    place_order,
    refund_order,
    ship_order,
)
from benchmarks.million.databases import Databases, Name
from benchmarks.million.engines import engine_on
from daemon.activation import Activation, Trigger, activated
from daemon.clock import SystemClock, new_id
from daemon.store.model import RunRecord, StepRecord
from daemon.store.schema import migrations
from daemon.store.sql import RUN_COLUMNS, STEP_COLUMNS, columns
from daemon.workflow.workflow import WorkflowBase

Row = tuple[object, ...]
MARK = "0000000"
_BLOCK = 20_000
_DAY_US = 86_400_000_000
_DAYS = 20
_GONE = 10  # the part of the runs after whose end it is filled anew
_REQUEST, _PLACED, _SHIPPED = Trigger("request"), Trigger("event", "enter-order", "1"), Trigger("event", "ship", "1")
_NIGHTLY = Trigger("job", "nightly-audit", "2026-01-01T00:00:00+00:00")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of run, and how many of a million are of it."""

    workflow: WorkflowBase
    trigger: Trigger
    fails: str
    of_a_million: int


KINDS = (
    Kind(place_order, _REQUEST, "no", 600_000),
    Kind(place_order, _PLACED, "no", 280_000),
    Kind(place_order, _PLACED, "late", 20_000),
    Kind(place_order, _REQUEST, "for-good", 500),
    Kind(ship_order, _SHIPPED, "no", 80_000),
    Kind(refund_order, _REQUEST, "late", 14_000),
    Kind(refund_order, _REQUEST, "no", 4_500),
    Kind(audit_order, _NIGHTLY, "no", 950),
    Kind(audit_order, _NIGHTLY, "for-good", 50),
)


class Pattern:
    """The rows of a real run, from which others are made."""

    def __init__(self, run: Row, steps: list[Row]) -> None:
        self._run_names, self._step_names = columns(RunRecord), columns(StepRecord)
        self._run: list[Any] = list(run)
        self._steps: list[list[Any]] = [list(step) for step in steps]
        self._created_us = int(str(run[self._run_names.index("created_us")]))
        self._marked = [place for place, value in enumerate(run) if isinstance(value, bytes) and _is_marked(value)]
        self._times = [place for place, value in enumerate(run) if self._run_names[place].endswith("_us") and value]
        self._step_places = [
            (
                [place for place, value in enumerate(step) if self._step_names[place].endswith("_us") and value],
                [place for place, value in enumerate(step) if isinstance(value, bytes) and _is_marked(value)],
            )
            for step in steps
        ]

    def rows(self, number: int, at_us: int, into_runs: list[Row], into_steps: list[Row]) -> None:
        """Make the rows of a run that began at a time."""
        key, later_us = new_id(at_us), at_us - self._created_us
        mark, digits = MARK.encode(), b"%07d" % number
        row: list[Any] = self._run.copy()
        for place in self._times:
            row[place] += later_us
        for place in self._marked:
            row[place] = row[place].replace(mark, digits)
        row[0] = key
        row[2] = f"order-{number}" if number % 2 else new_id(at_us)
        into_runs.append(tuple(row))
        for step, (times, marked) in zip(self._steps, self._step_places, strict=True):
            row = step.copy()
            for place in times:
                row[place] += later_us
            for place in marked:
                row[place] = row[place].replace(mark, digits)
            row[0] = key
            into_steps.append(tuple(row))


def _is_marked(value: bytes) -> bool:
    return MARK.encode() in value


async def patterns(data: Databases, name: Name) -> list[Pattern]:
    """Run a run of each kind, and return what it left in the store."""
    found = []
    async with engine_on(data, name) as (container, engine, _):
        for number, kind in enumerate(KINDS):
            order = Order(id=f"A-{MARK}", customer=f"ada-{MARK}@example.com", fails=kind.fails)
            with activated(Activation(kind.trigger, (kind.trigger.id or f"{number}",))):
                bound = kind.workflow(container)  # type: ignore[operator]
                run = await bound.run(order, run_id=f"pattern-{number}", raise_on_error=False)
            wanted = {"no": "completed", "late": "reverted", "for-good": "failed"}[kind.fails]
            if run.status != wanted:
                raise AssertionError(f"a run that was to be {wanted} is {run.status}")
            key = run.record.key
            (row,) = await data.rows(name, f"SELECT {RUN_COLUMNS} FROM runs WHERE key = '{key}'")
            steps = await data.rows(name, f"SELECT {STEP_COLUMNS} FROM steps WHERE run_key = '{key}' ORDER BY seq")
            found.append(Pattern(row, steps))
        await engine.drain(1)
    return found


async def copy(data: Databases, name: Name, runs: int) -> None:
    """Put so many ended runs into a store, which is emptied first."""
    await data.make_empty(name)
    every = await patterns(data, name)
    started_s = time.monotonic()
    chance = random.Random(7)  # noqa: S311 - the same runs every time
    weights = [kind.of_a_million for kind in KINDS]
    end_us = SystemClock().now_us() - _DAY_US // 24
    for first in range(0, runs, _BLOCK):
        new_runs: list[Row] = []
        new_steps: list[Row] = []
        count = min(_BLOCK, runs - first)
        for number, pattern in enumerate(chance.choices(every, weights, k=count), first):
            pattern.rows(number, end_us - (runs - number) * _DAYS * _DAY_US // runs, new_runs, new_steps)
        await data.insert(name, "runs", columns(RunRecord), new_runs)
        await data.insert(name, "steps", columns(StepRecord), new_steps)
        if (first + count) % (10 * _BLOCK) == 0:
            print(f"  {first + count:,} after {time.monotonic() - started_s:.0f} s", flush=True)


async def fill(data: Databases, folder: Path, runs: int) -> None:
    """Have so many ended runs in the filled store; what was filled before is used again, and brought up to date."""
    told = folder / "filled.json"
    if await _is_filled(data, told, runs):
        return
    _write(told, {})
    print(f"filling a store with {runs:,} runs of ten steps")
    await copy(data, "filled", runs)
    await data.settle()
    _write(told, {"schemas": _schemas(), "runs": runs, "deleted": 0})


def note_deleted(folder: Path, count: int) -> None:
    """Remember that so many of the runs are gone."""
    told = folder / "filled.json"
    is_there = _read(told)
    _write(told, is_there | {"deleted": is_there["deleted"] + count})


def _read(told: Path) -> dict[str, Any]:
    nothing: dict[str, Any] = {"schemas": [], "runs": 0, "deleted": 0}
    return nothing | json.loads(told.read_text()) if told.exists() else nothing


def _write(told: Path, what: dict[str, Any]) -> None:
    told.write_text(json.dumps(what))


async def _is_filled(data: Databases, told: Path, runs: int) -> bool:
    """Tell whether the store is as it has to be; one whose schema is older is migrated first."""
    is_there, schemas = _read(told), _schemas()
    made_by = is_there["schemas"]
    if made_by[: len(schemas)] == schemas != made_by:
        raise SystemExit(
            f"The store in {told.parent} is of a newer version, and stays: use that version, or another --runs."
        )
    if is_there["runs"] != runs or is_there["deleted"] * _GONE > runs or schemas[: len(made_by)] != made_by:
        return False
    if made_by != schemas:
        started_s, store = time.monotonic(), data.store("filled")
        await store.open()
        await store.aclose()
        await data.settle()
        print(f"the schema was brought up to date in {time.monotonic() - started_s:.1f} s")
        _write(told, is_there | {"schemas": schemas})
    return True


def _schemas() -> list[list[str]]:
    """Return what the migrations of both kinds of databases do, by version."""
    return [list(each) for each in zip(migrations("sqlite"), migrations("postgres"), strict=True)]
