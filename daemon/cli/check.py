"""`sagad check`: what the daemon would run, without connecting to anything."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.cli.in_flight import check_in_flight
from daemon.cli.loading import load_application
from daemon.cli.options import CONFIG, ConfigOption, JsonOption
from daemon.cli.output import printable, show, show_json, show_table, show_title
from daemon.clock import SystemClock
from daemon.config import Config
from daemon.container.factory import name_of
from daemon.events.model import name_of as event_name
from daemon.events.subscriber import Subscriber
from daemon.schedule.cron import Cron
from daemon.schedule.describe import next_firings, retry_json, schedule_json
from daemon.schedule.job import Job
from daemon.workflow.definition import BoundStep
from daemon.workflow.nodes import (
    ChildNode,
    HookNode,
    LoopNode,
    Node,
    OtherwiseNode,
    ParallelNode,
    SleepNode,
    StepNode,
    WaitNode,
    WhenNode,
)
from daemon.workflow.workflow import WorkflowBase

if TYPE_CHECKING:
    from daemon.discovery import Discovered

FIRINGS = 3


def check(
    *,
    in_flight: Annotated[
        bool,
        typer.Option("--in-flight", help="Show instead which runs that are stored this code could not go on with."),
    ] = False,
    config: ConfigOption = CONFIG,
    json: JsonOption = False,
) -> None:
    """Show what would run, and every mistake. Connects to nothing."""
    loaded, discovered = load_application(config)
    if in_flight:
        check_in_flight(loaded, discovered, json=json)
        return
    report = _relative(report_of(loaded, discovered, SystemClock().now()), loaded.folder)
    if json:
        show_json(report)
        return
    _show_subscribers(report["subscribers"])
    _show_jobs(report["jobs"])
    _show_workflows(report["workflows"])
    _show_services(report["services"])
    counts = ", ".join(_counted(len(report[f"{noun}s"]), noun) for noun in ("subscriber", "job", "workflow", "service"))
    for warning in report["warnings"]:
        show(printable(f"warning: {warning['where']}: {warning['what']}"))
    show(f"{loaded.app.name}: {counts}; no mistakes.")


def report_of(config: Config, discovered: "Discovered", now: datetime) -> dict[str, Any]:
    """Return what the daemon would run as plain data, with the next firings after `now`."""
    from daemon.declared import declared_jobs, jobs_of, subscribers_of  # noqa: PLC0415 - `--help` does not need it

    subscribers = {each.id: each for each in subscribers_of(discovered, config)}
    jobs = {each.name: each for each in jobs_of(discovered, config)}
    return {
        "app": config.app.name,
        "subscribers": [
            _subscriber(subscribers.get(each.id, each), config, enabled=each.id in subscribers)
            for each in discovered.subscribers
        ],
        "jobs": [_job(jobs.get(each.name, each), now, enabled=each.name in jobs) for each in declared_jobs(discovered)],
        "workflows": [_workflow(each) for each in discovered.workflows],
        "services": [
            {"type": name_of(each.provides), "scope": each.scope, "ping": each.ping is not None, "where": each.where}
            for each in discovered.services
        ],
        "warnings": [
            {"where": where, "what": what}
            for where, what in (*_job_warnings(jobs.values(), now), *_step_warnings(discovered.workflows))
        ],
    }


def _subscriber(subscriber: Subscriber[Any], config: Config, *, enabled: bool) -> dict[str, Any]:
    return {
        "id": subscriber.id,
        "enabled": enabled,
        "queue": f"{config.app.name}.{subscriber.id}",
        "patterns": list(subscriber.patterns),
        "retry": retry_json(subscriber.retry),
        "concurrency": subscriber.concurrency,
        "timeout_s": None if subscriber.timeout is None else subscriber.timeout.total_seconds(),
        "ordered": subscriber.ordered,
        "where": subscriber.where,
    }


def _job(job: Job[Any], now: datetime, *, enabled: bool) -> dict[str, Any]:
    return {
        "name": job.name,
        "enabled": enabled,
        **schedule_json(job.schedule),
        "next": next_firings(job.schedule, now, FIRINGS if enabled else 0),
        "where": job.where,
    }


def _job_warnings(jobs: Iterable[Job[Any]], now: datetime) -> Iterator[tuple[str, str]]:
    for job in jobs:
        if isinstance(job.schedule.timetable, Cron):
            for what in job.schedule.timetable.warnings(now):
                yield job.where, f"job {job.name!r}: {what}."


def _workflow(workflow: WorkflowBase) -> dict[str, Any]:
    schedule = workflow.schedule
    return {
        "name": workflow.name,
        "job": None if schedule is None else schedule.name or workflow.name,
        "steps": list(_nodes(workflow, workflow.graph.nodes, None)),
        "where": workflow.where,
    }


def _nodes(workflow: WorkflowBase, nodes: Iterable[Node], block: str | None) -> Iterator[dict[str, Any]]:
    """Iterate over what a workflow does, under the names that it has in runs; a hook's handlers are inside it."""
    for node in nodes:
        for member in node.members if isinstance(node, ParallelNode) else (node,):
            step = member.step if isinstance(member, (StepNode, LoopNode)) else None
            yield {
                "name": member.name,
                "kind": member.describe()["kind"],
                "of": _of(member),
                "parallel": node.name if isinstance(node, ParallelNode) else None,
                "block": block,
                **_step(step, step.settings.timeout if step else getattr(member, "timeout", None)),
            }
        if isinstance(node, (WhenNode, OtherwiseNode)):
            yield from _nodes(workflow, node.nodes, node.name)
        elif isinstance(node, HookNode):
            for each in workflow.handlers.get(node.name, ()):
                around = {"of": None, "parallel": None, "block": node.name}
                yield {"name": each.name, "kind": "step", **around, **_step(each, each.settings.timeout)}


def _of(node: Node) -> str | None:
    """Return which workflow a child is a run of, which event is waited for, and how long a timer takes."""
    match node:
        case ChildNode():
            return node.workflow.name
        case WaitNode():
            return event_name(node.event)
        case SleepNode(delay=timedelta()):
            return str(node.delay)
    return None


def _step(step: BoundStep | None, timeout: timedelta | None) -> dict[str, Any]:
    compensation = step and step.definition.compensation
    return {
        "compensation": compensation and compensation.fn.__name__,
        "timeout_s": None if timeout is None else timeout.total_seconds(),
        "external": step is not None and step.settings.external,
    }


def _step_warnings(workflows: Iterable[WorkflowBase]) -> Iterator[tuple[str, str]]:
    for workflow in workflows:
        steps = [(node.name, node.step, node.where) for node in workflow.graph.steps()]
        for handlers in workflow.handlers.values():
            steps += [(handler.name, handler, handler.definition.where) for handler in handlers]
        for name, step, where in steps:
            compensation = step.definition.compensation
            if step.settings.timeout is not None and compensation is not None and not compensation.accepts_none:
                what = (
                    f"step {name!r} of {workflow.name!r} has a timeout, and its compensation "
                    f"{compensation.fn.__name__} does not take None: after a timeout nobody could undo what the step "
                    "may have done. Let the compensation accept None."
                )
                yield where, what


def _relative(found: Any, folder: Path) -> Any:
    """Return plain data with the places in it (`where`) relative to the application's folder, where they are in it."""
    if isinstance(found, list):
        return [_relative(each, folder) for each in found]
    if isinstance(found, dict):
        prefix = f"{folder.resolve()}/"
        return {
            key: value.removeprefix(prefix) if key == "where" else _relative(value, folder)
            for key, value in found.items()
        }
    return found


def _show_subscribers(subscribers: list[dict[str, Any]]) -> None:
    if not subscribers:
        return
    show_title("Subscribers")
    show_table(
        ("subscriber", "events", "queue", "retry", "at once", "timeout", "state"),
        [
            (
                each["id"],
                each["patterns"],
                each["queue"],
                _retry_text(each["retry"]),
                "1, in order" if each["ordered"] else each["concurrency"],
                _seconds(each["timeout_s"]),
                "enabled" if each["enabled"] else "disabled",
            )
            for each in subscribers
        ],
    )
    show("")


def _show_jobs(jobs: list[dict[str, Any]]) -> None:
    if not jobs:
        return
    show_title("Jobs")
    rows: list[tuple[object, ...]] = []
    for each in jobs:
        firings = [(_moment(at["local"]), _moment(at["utc"])) for at in each["next"]]
        state = "enabled" if each["enabled"] else "disabled"
        schedule = each["schedule"] or f"every {_seconds(each['every_s'])}"
        local, utc = firings[0] if firings else (None, None)
        rows.append((each["name"], schedule, local, each["timezone"], utc, state))
        rows += [(" ", " ", local, " ", utc, " ") for local, utc in firings[1:]]
    show_table(("job", "schedule", "next", "zone", "next in UTC", "state"), rows)
    show("")


def _show_workflows(workflows: list[dict[str, Any]]) -> None:
    if not workflows:
        return
    show_title("Workflows")
    rows: list[tuple[object, ...]] = []
    for each in workflows:
        name = each["name"]
        for step in each["steps"] or [{}]:
            inside = step.get("parallel") or step.get("block")
            kind = "external step" if step.get("external") else step.get("kind")
            what = f"{kind}: {step['of']}" if step.get("of") else kind
            rows.append((name, step.get("name"), what, inside, step.get("compensation")))
            name = " "
    show_table(("workflow", "step", "kind", "inside", "undone by"), rows)
    show("")


def _show_services(services: list[dict[str, Any]]) -> None:
    if not services:
        return
    show_title("Services")
    show_table(("service", "lives as long as the", "where"), [(s["type"], s["scope"], s["where"]) for s in services])
    show("")


def _retry_text(retry: dict[str, Any]) -> str:
    if retry["max_attempts"] == 1:
        return "never"
    factor = f", x{retry['backoff']:g}" if retry["backoff"] != 1 else ""
    return f"{retry['max_attempts']} attempts, {_seconds(retry['delay_s'])}{factor}"


def _seconds(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds:g} s"


def _moment(iso: str) -> str:
    return f"{datetime.fromisoformat(iso):%a %Y-%m-%d %H:%M:%S}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count or 'no'} {noun}s"
