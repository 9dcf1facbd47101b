"""Which runs are asked for: what `list` is given, checked before the store is asked."""

import re
from datetime import datetime

from daemon.clock import to_us
from daemon.errors import did_you_mean
from daemon.store.model import RunStatus
from daemon.store.port import RunFilter

TRIGGER = r"^(event|job|request|run|call)(:.+)?$"
AFTER = r"^[0-9A-HJKMNP-TV-Z]{26}~?$"  # an id, by which runs are ordered; see `store.walks` for the rest


def check_trigger(trigger: str) -> str:
    """Return `trigger` if it is a trigger's kind, or a kind and a name. Raises `ValueError` if it is not."""
    if not re.fullmatch(TRIGGER, trigger):
        kinds = "event, job, request, run or call, alone or with a name (event:hello-customer)"
        raise ValueError(f"trigger is {kinds}, not {trigger!r}.")
    return trigger


def check_after(after: str) -> str:
    """Return `after` if it looks like the `next` of a page. Raises `ValueError` if it does not."""
    if not re.fullmatch(AFTER, after):
        raise ValueError(f"after is the `next` of the page before, not {after!r}.")
    return after


def run_filter(
    *, workflow: str | None, status: str | None, trigger: str | None, since: datetime | None, text: str | None
) -> RunFilter | None:
    """Return what is asked for; None if no run can be like that.

    Raises:
        ValueError: A status or a trigger that there is not, or a `since` without a zone.
    """
    known = [each.value for each in RunStatus]
    if status is not None and status not in known:
        raise ValueError(f"status is one of {', '.join(known)}, not {status!r}.{did_you_mean(str(status), known)}")
    if trigger is not None:
        check_trigger(trigger)
    if since is not None and (not isinstance(since, datetime) or since.tzinfo is None):
        raise ValueError(f"since is an aware datetime, not {since}; add tzinfo=UTC.")
    if any(each is not None and not _is_stored(each) for each in (workflow, trigger, text)):
        return None
    wanted = None if status is None else RunStatus(status)
    return RunFilter(workflow, wanted, trigger, None if since is None else to_us(since), text)


def _is_stored(text: str) -> bool:
    """Tell whether a text may occur in a store: half a surrogate pair is no Unicode, and a zero ends a text."""
    return "\0" not in text and text == text.encode(errors="replace").decode()
