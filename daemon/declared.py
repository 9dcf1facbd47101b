"""What an application declares, as its configuration changes it."""

from datetime import timedelta
from typing import Any

from daemon.config import Config
from daemon.discovery import Discovered
from daemon.engine.engine import WorkflowEngine
from daemon.errors import ConfigurationError, CronError, Problem
from daemon.events.model import Event
from daemon.events.subscriber import Subscriber, SubscriberContext
from daemon.events.subscriber import overridden as subscriber_overridden
from daemon.retry import Retry
from daemon.schedule.job import Job
from daemon.schedule.job import overridden as job_overridden

AWAITED = "workflows"
_RETRY = Retry(max_attempts=5, delay=timedelta(seconds=1), backoff=4, jitter=0.2)


def subscribers_of(discovered: Discovered, config: Config) -> list[Subscriber[Any]]:
    """Return the subscribers as the configuration changes them, without those that it turns off."""
    found = [subscriber_overridden(each, config.subscribers.get(each.id)) for each in discovered.subscribers]
    return [each for each in found if each is not None]


def unsupported(config: Config) -> list[Problem]:
    """Return what is valid in the configuration, and that this version cannot do."""
    if config.sqlite_path is not None:
        return []
    return [Problem("storage.url", "this version keeps its data in SQLite only: use sqlite:///path/to/file.db.")]


def jobs_of(discovered: Discovered, config: Config) -> list[Job[Any]]:
    """Return the jobs as the configuration changes them, without those that it turns off.

    Raises:
        ConfigurationError: A configured schedule is wrong; every such one.
    """
    found: list[Job[Any]] = []
    problems: list[Problem] = []
    for each in discovered.jobs:
        try:
            changed = job_overridden(each, config.jobs.get(each.name))
        except CronError as error:
            problems.append(Problem(f"jobs.{each.name}.schedule", str(error)))
            continue
        if changed is not None:
            found.append(changed)
    if problems:
        raise ConfigurationError(problems)
    return found


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
