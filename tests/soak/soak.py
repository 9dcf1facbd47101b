"""The soak itself: start everything, strike until the time is up, wait until everything has ended, judge."""

import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.acceptance.application import Application
from tests.acceptance.process import until
from tests.soak.database import Database, database
from tests.soak.faults import Fault, Faults
from tests.soak.fleet import GRACE_S, Fleet
from tests.soak.ledger import APP, Ledger
from tests.soak.letters import Letters
from tests.soak.load import Load
from tests.soak.recovery import samples
from tests.soak.report import Plan, Report
from tests.soak.verdict import judge

_DRAIN_S = 90.0
_PAGE = 200


def soak(plan: Plan, folder: Path) -> Report:
    """Do as planned, in an empty folder, and return what has come of it."""
    with database(plan.store, folder) as store:
        application = _application(folder / "app", store.url)
        ledger = application.folder / "ledger.jsonl"
        fleet = Fleet(application, plan.daemons)
        load = Load(lambda: fleet.addresses, Ledger(ledger), seed=plan.seed, in_flight=plan.in_flight)
        try:
            for number in fleet.numbers:
                fleet.start(number)
            started_s = time.monotonic()
            load.start()
            faults = _trouble(plan, fleet, store)
            loaded_s = time.monotonic() - started_s
            letters = Letters(fleet, faults)
            load.finish(within_s=_DRAIN_S, meanwhile=letters.replay)
            left = _await_quiet(fleet, letters)
            runs = _all_runs(fleet)
            for number in fleet.numbers:
                fleet.terminate(number)
        finally:
            fleet.end()
        lines = Ledger(ledger).news()
        verdict = judge(load.orders, runs, lines, fleet.logged())
        verdict.violations += [*left, *letters.violations, *load.refusals, *fleet.violations]
        if damage := store.damage():
            verdict.violations.append(f"the database is damaged: {damage}")
    found = samples(faults, lines)
    return Report(plan, faults, verdict, found, loaded_s, fleet.ready_s, letters.replayed, _errors(fleet))


def _application(folder: Path, url: str) -> Application:
    ledger = folder / "ledger.jsonl"
    handlers = ("fulfil-order", "deliver", "settle-order", "note-closed")
    settings = {
        "app.name": APP,
        "storage.url": url,
        "daemon.shutdown_grace_s": GRACE_S,
        **{f"options.{handler}.ledger": str(ledger) for handler in handlers},
    }
    return Application(folder, settings, parts=(Path(__file__).parent / "application",))


def _trouble(plan: Plan, fleet: Fleet, store: Database) -> Sequence[Fault]:
    """Strike until the time is up."""
    chance = random.Random(plan.seed)  # noqa: S311 - the same one every time
    kinds = [kind for kind in plan.faults if kind != "database" or plan.store == "postgres"]
    faults = Faults(fleet, store, chance, kinds)
    began_s = time.monotonic()
    until_s = began_s + plan.seconds
    while (left_s := until_s - time.monotonic()) > 0 and not 0 < plan.count <= len(faults.injected):
        if plan.steady:  # at even times, however long the one before has taken
            pause_s = plan.pause_s - (time.monotonic() - began_s) % plan.pause_s
        else:
            pause_s = plan.pause_s * chance.uniform(0.4, 1.6)
        time.sleep(min(left_s, pause_s))
        if kinds and time.monotonic() < until_s:
            faults.strike()
    return faults.injected


def _await_quiet(fleet: Fleet, letters: Letters) -> list[str]:
    """Wait until the queues are empty, and return what is wrong with them if they do not become so."""

    def queues() -> list[dict[str, Any]]:
        letters.replay()
        items: list[dict[str, Any]] = fleet.read("/api/subscribers")["items"]
        return [each for each in items if each["ready"] or each["in_flight"] or each["dead_letters"]]

    try:
        until(lambda: not queues(), "the queues are empty", timeout_s=20)
    except AssertionError:
        return [f"left in the queue of {each['id']}: {each}" for each in queues()]
    return []


def _all_runs(fleet: Fleet) -> list[dict[str, Any]]:
    """Return all runs, children too, as the API shows them."""
    found: list[dict[str, Any]] = []
    page = fleet.read("/api/runs", limit=_PAGE)
    while True:
        found += page["items"]
        if page["next"] is None:
            return found
        page = fleet.read("/api/runs", limit=_PAGE, after=page["next"])


def _errors(fleet: Fleet) -> Counter[str]:
    return Counter(each["event"] for each in fleet.logged() if each.get("level") in {"error", "critical"})
