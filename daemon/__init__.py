"""sagad: the saga daemon. Everything that an application uses is imported from here."""

from daemon.activation import Trigger
from daemon.config import Config
from daemon.container import service
from daemon.engine.engine import WorkflowEngine
from daemon.engine.reading import RunPage
from daemon.engine.watching import RunEvent
from daemon.errors import (
    BrokerUnavailableError,
    CodecError,
    CompositionError,
    ConfigurationError,
    CronError,
    DaemonError,
    DefinitionError,
    PayloadTooLargeError,
    PermanentFailure,
    Reject,
    RemoteError,
    ReportedFailure,
    RetryAfter,
    RunExists,
    RunNotCompleted,
    RunNotFound,
    RunStateError,
    RunTimeout,
    ServiceNotRegisteredError,
    StepTimeout,
    StoreUnavailableError,
    WaitTimeout,
    WatcherBehindError,
    WorkflowFailed,
)
from daemon.events.model import Envelope, Event
from daemon.events.publisher import EventBus
from daemon.events.subscriber import Subscriber, SubscriberContext, subscriber
from daemon.opening import open_container
from daemon.retry import Retry
from daemon.schedule.cron import Cron
from daemon.schedule.job import Job, JobContext, job
from daemon.schedule.options import Schedule
from daemon.store.model import RunStatus, StepState
from daemon.workflow.branch import Branch
from daemon.workflow.compose import for_each, parallelize, transform, when
from daemon.workflow.context import StepContext
from daemon.workflow.decorate import step
from daemon.workflow.definition import SkipTo
from daemon.workflow.emitting import emit
from daemon.workflow.hook import Hook
from daemon.workflow.ref import Ref
from daemon.workflow.run import AttemptError, StepError, StepRun, WorkflowRun
from daemon.workflow.step import SourceStep, Step, StepResponse
from daemon.workflow.waiting import sleep, sleep_until, wait_for_event
from daemon.workflow.workflow import SourceWorkflow, Workflow, workflow

__all__ = [
    "AttemptError",
    "Branch",
    "BrokerUnavailableError",
    "CodecError",
    "CompositionError",
    "Config",
    "ConfigurationError",
    "Cron",
    "CronError",
    "DaemonError",
    "DefinitionError",
    "Envelope",
    "Event",
    "EventBus",
    "Hook",
    "Job",
    "JobContext",
    "PayloadTooLargeError",
    "PermanentFailure",
    "Ref",
    "Reject",
    "RemoteError",
    "ReportedFailure",
    "Retry",
    "RetryAfter",
    "RunEvent",
    "RunExists",
    "RunNotCompleted",
    "RunNotFound",
    "RunPage",
    "RunStateError",
    "RunStatus",
    "RunTimeout",
    "Schedule",
    "ServiceNotRegisteredError",
    "SkipTo",
    "SourceStep",
    "SourceWorkflow",
    "Step",
    "StepContext",
    "StepError",
    "StepResponse",
    "StepRun",
    "StepState",
    "StepTimeout",
    "StoreUnavailableError",
    "Subscriber",
    "SubscriberContext",
    "Trigger",
    "WaitTimeout",
    "WatcherBehindError",
    "Workflow",
    "WorkflowEngine",
    "WorkflowFailed",
    "WorkflowRun",
    "emit",
    "for_each",
    "job",
    "open_container",
    "parallelize",
    "service",
    "sleep",
    "sleep_until",
    "step",
    "subscriber",
    "transform",
    "wait_for_event",
    "when",
    "workflow",
]
