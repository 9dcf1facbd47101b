"""What an application declares, as its configuration changes it."""

from dataclasses import replace
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from daemon.config import Config, check_names
from daemon.discovery import Discovered
from daemon.engine.engine import WorkflowEngine
from daemon.errors import ConfigurationError, CronError, DefinitionError, Problem, RunNotCompleted
from daemon.events.model import Event
from daemon.events.subscriber import Subscriber, SubscriberContext
from daemon.events.subscriber import overridden as subscriber_overridden
from daemon.retry import Retry
from daemon.schedule.job import Job, JobContext
from daemon.schedule.job import overridden as job_overridden
from daemon.schedule.options import Schedule
from daemon.workflow.workflow import WorkflowBase

AWAITED = "workflows"
_RETRY = Retry(max_attempts=5, delay=timedelta(seconds=1), backoff=4, jitter=0.2)


def subscribers_of(discovered: Discovered, config: Config) -> list[Subscriber[Any]]:
    """Return the subscribers as the configuration changes them, without those that it turns off."""
    found = [subscriber_overridden(each, config.subscribers.get(each.id)) for each in discovered.subscribers]
    return [each for each in found if each is not None]


def missing_driver(config: Config) -> list[Problem]:
    """Return what is valid in the configuration, and needs something that is not installed."""
    if config.sqlite_path is not None or find_spec("asyncpg") is not None:
        return []
    return [Problem("storage.url", "PostgreSQL needs a driver that is not installed: pip install 'sagad[postgres]'.")]


def misnamed(discovered: Discovered, config: Config) -> list[Problem]:
    """Return one problem per table of the configuration that is named after nothing in the application."""
    return check_names(
        config,
        subscribers=[each.id for each in discovered.subscribers],
        jobs=[each.name for each in declared_jobs(discovered)],
        workflows=[each.name for each in discovered.workflows],
    )


def declared_jobs(discovered: Discovered) -> list[Job[Any]]:
    """Return the jobs as the code has them: those that were written as jobs, and those that start workflows."""
    return [
        *discovered.jobs,
        *(_starting(each, each.schedule) for each in discovered.workflows if each.schedule is not None),
    ]


def _starting(workflow: WorkflowBase, schedule: Schedule) -> Job[Any]:
    """Return the job that starts a workflow when it is due, with the schedule's `data` as the input."""
    bind: Any = workflow

    async def start(ctx: JobContext) -> None:
        given = () if workflow.graph.input is None else (ctx.data,)
        run = await bind(ctx.container).run(*given)
        if not run.status.ended:
            raise RunNotCompleted(run.run_id, workflow.name, run.status)  # it is parked, which ends the firing well

    name = schedule.name or workflow.name
    file, _, line = workflow.where.rpartition(":")
    return Job(
        name,
        replace(schedule, name=name),
        start,
        takes_context=True,
        file=file,
        line=int(line),
        workflow=workflow.name,
    )


def jobs_of(discovered: Discovered, config: Config) -> list[Job[Any]]:
    """Return the jobs, workflows' schedules included, as the configuration changes them, without what it turns off.

    Raises:
        ConfigurationError: A configured schedule is wrong; every such one.
    """
    found: list[Job[Any]] = []
    problems: list[Problem] = []
    for each in declared_jobs(discovered):
        try:
            changed: Job[Any] | None = job_overridden(each, config.jobs.get(each.name))
        except DefinitionError as error:
            key = f"jobs.{each.name}.schedule" if isinstance(error, CronError) else f"jobs.{each.name}"
            problems.append(Problem(key, str(error)))
            continue
        if changed is not None:
            found.append(changed)
    if problems:
        raise ConfigurationError(problems)
    return found


def dropped_jobs(discovered: Discovered, config: Config) -> list[str]:
    """Return the names of the jobs that the configuration turns off."""
    off = {name for name, override in config.jobs.items() if not override.enabled}
    return [each.name for each in declared_jobs(discovered) if each.name in off]


def awaited_events(engine: WorkflowEngine) -> list[Subscriber[Any]]:
    """Return the subscriber that takes in what workflows wait for; none if they wait for nothing."""

    async def take(event: Event, ctx: SubscriberContext) -> None:
        await engine.take_event(event, ctx.event)

    models = engine.incoming.models()
    if not models:
        return []
    code = take.__code__
    return [
        Subscriber(
            id=AWAITED,
            patterns=tuple(models),
            models=models,
            handler=take,
            takes_context=True,
            retry=_RETRY,
            concurrency=100,
            timeout=None,
            ordered=False,
            file=code.co_filename,
            line=code.co_firstlineno,
        )
    ]
