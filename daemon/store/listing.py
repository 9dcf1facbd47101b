"""What every store has to do alike when it lists: which runs a filter wants, and the order of staged events."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence

from daemon.store.model import OutgoingEvent, RunRecord
from daemon.store.port import RunFilter


def matches(record: RunRecord, wanted: RunFilter) -> bool:
    """Tell whether a filter wants a run."""
    return (
        wanted.workflow in (None, record.workflow)
        and wanted.status in (None, record.status)
        and (wanted.since_us is None or record.created_us >= wanted.since_us)
        and (wanted.trigger is None or wanted.trigger in _trigger_names(record.trigger))
        and (wanted.text is None or any(contains(each, _searched(record)) for each in spellings(wanted.text)))
    )


def spellings(text: str) -> list[str]:
    """Return how a text is written where it occurs: as it is, and as JSON has it inside a string."""
    within = json.dumps(text, ensure_ascii=False)[1:-1]
    return [text] if within == text else [text, within]


def contains(wanted: str, texts: Iterable[str | bytes | None]) -> bool:
    """Tell whether a text occurs in one of several, ignoring case; bytes are UTF-8."""
    lower = wanted.lower()  # as databases do it: "SS" is no "ß"
    return any(lower in _text(each).lower() for each in texts)


def in_order(events: Sequence[OutgoingEvent]) -> list[OutgoingEvent]:
    """Return events where they are, except that those of one origin change places until their `seq` ascends."""
    by_origin: defaultdict[str, list[OutgoingEvent]] = defaultdict(list)
    for event in events:
        by_origin[event.origin].append(event)
    ascending = {origin: iter(sorted(each, key=lambda event: event.seq)) for origin, each in by_origin.items()}
    return [next(ascending[event.origin]) for event in events]


def _text(value: str | bytes | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""


def _searched(record: RunRecord) -> tuple[str | bytes | None, ...]:
    return record.run_id, record.workflow, record.input, record.errors


def _trigger_names(trigger: bytes) -> tuple[str, str]:
    values = json.loads(trigger)
    return values["kind"], f"{values['kind']}:{values.get('name', '')}"
