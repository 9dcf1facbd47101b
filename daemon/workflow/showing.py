"""A run as every interface shows it, in JSON: put together from what is stored, most of which is JSON already.

A page of runs has a thousand values: to read each, only to write it again, would take most of the page's time.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from pydantic_core import from_json, to_json

from daemon.clock import iso_of
from daemon.store.model import RunRecord, StepRecord

_NOTHING = b"[]"
_RUN = (
    b'{"run_id":%b,"workflow":%b,"status":"%b","trigger":%b,"attempt":%d,"input":%b,"result":%b,"errors":%b,'
    b'"compensated":%b,"steps":{%b},"created_at":"%b","updated_at":"%b","waiting_for":%b}'
)
_STEP = b'%b:{"name":%b,"state":"%b","input":%b,"output":%b,"attempts":%d,"started_at":"%b","ended_at":%b,"errors":%b}'


def run_json(record: RunRecord, steps: Iterable[StepRecord], compensated: Sequence[str]) -> bytes:
    """Return a run with its steps, in this order, and the names of those that were undone; UTF-8."""
    return _RUN % (
        _quoted(record.run_id),
        _name(record.workflow),
        record.status.encode(),
        record.trigger,
        record.attempt,
        record.input or b"null",
        record.result or b"null",
        _reshaped(record.errors, _errors),
        b"[%b]" % b",".join([_name(name) for name in compensated]),
        b",".join([_step(step) for step in steps]),
        iso_of(record.created_us).encode(),
        iso_of(record.updated_us).encode(),
        _quoted(record.waiting_for) if record.waiting_for else b"null",
    )


def _step(step: StepRecord) -> bytes:
    name = _name(step.name)
    return _STEP % (
        name,
        name,
        step.state.encode(),
        step.input or b"null",
        step.output or b"null",
        step.attempts,
        iso_of(step.started_us).encode(),
        b"null" if step.ended_us is None else f'"{iso_of(step.ended_us)}"'.encode(),
        _reshaped(step.failures, _attempts),
    )


def _reshaped(stored: bytes, reshape: Callable[[Any], object]) -> bytes:
    if stored == _NOTHING:
        return _NOTHING
    try:
        return to_json(reshape(from_json(stored)))  # in a third of the time that `json` takes
    except ValueError:  # half a surrogate pair
        return json.dumps(reshape(json.loads(stored))).encode()


def _errors(stored: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "step": error["step"],
            "phase": error["phase"],
            "attempts": _attempts(error["attempts"]),
            "tolerated": error.get("tolerated", False),
            "child": error.get("child") or None,
        }
        for error in stored
    ]


def _attempts(stored: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [
        {"time": iso_of(a["at_us"]), "type": a["type"], "message": a["message"], "traceback": a.get("traceback", "")}
        for a in stored
    ]


def _quoted(text: str) -> bytes:
    return encode_basestring_ascii(text).encode()


@lru_cache(maxsize=1024)
def _name(name: str) -> bytes:
    return _quoted(name)
