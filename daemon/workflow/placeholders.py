"""What stands in a graph for what the code that runs now does not have: never called, and it cannot be read."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from pydantic import model_validator

from daemon.errors import CodecError
from daemon.events.model import Event
from daemon.retry import Retry
from daemon.workflow.codec import ANY, Codec, named
from daemon.workflow.definition import (
    COMPENSATION_RETRY,
    BoundStep,
    CompensationFunction,
    SkipTo,
    StepDefinition,
    StepOptions,
)
from daemon.workflow.graph import Graph
from daemon.workflow.workflow import WorkflowBase, WorkflowOptions

_KNOWN: Mapping[str, Any] = {"typing.Any": Any, "None": None}
_SKIP_TO = "skip to "


class GoneCodec(Codec):
    """The codec of a type that is not there any more."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        super().__init__(Any)
        self._text = text

    def hold(self, value: Any, limit_bytes: int, what: str, of: str = "") -> NoReturn:  # noqa: ARG002 - as its base
        """Raise `CodecError`."""
        raise CodecError(f"{named(what, of)} cannot be stored: the type {self._text} is missing")

    def decode(self, data: bytes) -> NoReturn:  # noqa: ARG002 - as the codec that it replaces
        """Raise `CodecError`."""
        raise CodecError(f"The type {self._text} is missing")


class GoneEvent(Event):
    """Any event whose class is not there any more."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, _: object) -> NoReturn:
        msg = "the class of the event is missing"
        raise ValueError(msg)


def codec_of(text: str, known: Mapping[str, Any]) -> Codec:
    """Return the codec of the type that has a text.

    Args:
        text: As of `type_text`.
        known: Types by their texts: those in use.
    """
    for types in (known, _KNOWN):
        if text in types:
            return Codec(types[text])
    module, _, name = text.partition(":")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return Codec(found) if isinstance(found, type) else GoneCodec(text)


def gone_function(*_: Any) -> NoReturn:
    """Stand for a function that is not there any more. Raises `RuntimeError`: a run that needs it is held."""
    msg = "This function is missing in the code that runs now."
    raise RuntimeError(msg)


def gone_step(name: str, described: Mapping[str, Any], output: Codec) -> BoundStep:
    """Return what stands for a step: with a compensation if it had one, so that it is known to be needed."""
    options = described["options"]
    undo = CompensationFunction(gone_function, 0, accepts_none=True, is_async=False, partial=ANY)
    definition = StepDefinition(
        fn=gone_function,
        arity=1,
        is_async=False,
        needs_task=False,
        input=ANY,
        output=output,
        undo=ANY,
        where="a former version",
        compensation=undo if described["compensation"] is not None else None,
    )
    settings = StepOptions(
        retry=Retry.never(),
        compensation_retry=COMPENSATION_RETRY,
        timeout=None,
        idempotent=options["idempotent"],
        on_failure=on_failure_of(options["on_failure"]),
        external=options["external"],
    )
    return BoundStep(definition, name, settings)


def on_failure_of(described: str) -> Any:
    """Return the option that was described."""
    return SkipTo(described.removeprefix(_SKIP_TO)) if described.startswith(_SKIP_TO) else described


def gone_workflow(name: str) -> WorkflowBase:
    """Return what stands for a workflow."""
    fn: Callable[..., Any] = gone_function
    return WorkflowBase(name, fn, Graph(name, (), 1, None, None, ANY), WorkflowOptions(None, None, None, None))
