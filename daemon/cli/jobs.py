"""`sagad jobs`."""

import getpass
import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from daemon.cli.loading import load_application, perform
from daemon.cli.options import CONFIG, ConfigOption, JsonOption, group
from daemon.cli.output import note, show, show_json, show_table
from daemon.schedule.desk import AFTER, check_note
from daemon.store.job_model import FiringState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from daemon.schedule.desk import JobDesk

T = TypeVar("T")
app = group("List, trigger, pause and resume jobs, and show what became of their firings.")


def _note(given: str) -> str:
    try:
        return check_note(given)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # this user has no name
        return ""


NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The job's name.")]
ByOption = Annotated[
    str, typer.Option(help="Who orders it.", default_factory=_login, show_default="your login name", callback=_note)
]
ReasonOption = Annotated[str, typer.Option(help="Why; it is kept, and shown in the history.", callback=_note)]


@app.command("list")
def list_(*, config: ConfigOption = CONFIG, json: JsonOption = False) -> None:
    """List jobs: when they fire next, and what became of their last firing."""
    found = [each.to_json() for each in _perform(config, lambda desk: desk.list())]
    if json:
        show_json(found)
    elif found:
        columns = ("job", "schedule", "state", "next", "zone", "next in UTC", "last (UTC)", "went")
        show_table(columns, [_row(each) for each in found])
    else:
        note("There are no jobs.")


@app.command()
def history(
    name: NameArgument,
    *,
    state: Annotated[FiringState | None, typer.Option(help="Only firings in this state.")] = None,
    orders: Annotated[
        bool, typer.Option("--orders", help="Show instead who paused, resumed and triggered it, and why.")
    ] = False,
    after: Annotated[str | None, typer.Option(help="The page after the one that ended with this key.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 50,
    config: ConfigOption = CONFIG,
    json: JsonOption = False,
) -> None:
    """Show what became of a job's firings, latest first."""
    if after is not None and not re.fullmatch(AFTER, after):
        raise typer.BadParameter(f"{after!r} is no key that a page ended with.", param_hint="--after")

    page = _perform(
        config,
        lambda desk: (
            desk.orders(name, after=after, limit=limit)
            if orders
            else desk.history(name, state=state, after=after, limit=limit)
        ),
    )
    if json:
        show_json(page.to_json())
        return
    if not page.items:
        note("Nobody ordered anything of it." if orders else "No such firings.")
    elif orders:
        rows = [(_moment(each["at"]), each["action"], each["by"], each["reason"]) for each in page.items]
        show_table(("when (UTC)", "what", "by", "why"), rows)
    else:
        show_table(
            ("scheduled (UTC)", "state", "trigger", "attempt", "started (UTC)", "ended (UTC)", "why"),
            [_firing_row(each) for each in page.items],
        )
    if page.next is not None:
        note(f"There are more: --after {page.next}")


@app.command()
def trigger(
    name: NameArgument,
    *,
    by: ByOption,
    reason: ReasonOption = "",
    config: ConfigOption = CONFIG,
    json: JsonOption = False,
) -> None:
    """Have a job fire now, also if it is paused.

    A daemon takes it up at once; if none runs, the next one does.
    """
    found = _perform(config, lambda desk: desk.trigger(name, by=by, reason=reason))
    show_json(found) if json else show(f"Job {name} is to fire: {_moment(found['scheduled_for'])} UTC.")


@app.command()
def pause(
    name: NameArgument,
    *,
    by: ByOption,
    reason: ReasonOption = "",
    config: ConfigOption = CONFIG,
    json: JsonOption = False,
) -> None:
    """Have no firing of a job begin, in any daemon, until it is resumed.

    What runs goes on; what comes due meanwhile is recorded as skipped.
    """
    found = _perform(config, lambda desk: desk.pause(name, by=by, reason=reason)).to_json()
    show_json(found) if json else show(f"Job {name} is paused, {_pause_text(found['paused'])}.")


@app.command()
def resume(
    name: NameArgument,
    *,
    by: ByOption,
    reason: ReasonOption = "",
    config: ConfigOption = CONFIG,
    json: JsonOption = False,
) -> None:
    """Have a job fire again from now on; what came due while it was paused is not made up for."""
    found = _perform(config, lambda desk: desk.resume(name, by=by, reason=reason)).to_json()
    if json:
        show_json(found)
        return
    following = f"; next: {_moment(found['next'][0]['local'])} ({found['timezone']})" if found["next"] else ""
    show(f"Job {name} is not paused: it is {found['state']}{following}.")


def _perform(path: "Path", work: "Callable[[JobDesk], Awaitable[T]]") -> "T":
    return perform(*load_application(path), lambda app: work(app.desk))


def _row(job: dict[str, Any]) -> tuple[object, ...]:
    following, last = job["next"], job["last"]
    state = job["state"]
    if state == "paused":
        state = f"paused, {_pause_text(job['paused'])}"
    return (
        job["name"],
        job["schedule"] or f"every {job['every_s']:g} s",
        state,
        _moment(following[0]["local"]) if following else None,
        job["timezone"],
        _moment(following[0]["utc"]) if following else None,
        _moment(last["scheduled_for"]) if last else None,
        last["state"] if last else None,
    )


def _firing_row(firing: dict[str, Any]) -> tuple[object, ...]:
    ordered = ": ".join(part for part in (firing["by"], firing["reason"]) if part)
    why = "; ".join(part for part in (ordered, firing["error"]) if part)
    return (
        _moment(firing["scheduled_for"]),
        firing["state"],
        firing["trigger"],
        firing["attempt"] or None,
        _moment(firing["started_at"]),
        _moment(firing["ended_at"]),
        why,
    )


def _pause_text(pause: dict[str, Any]) -> str:
    by = f" by {pause['by']}" if pause["by"] else ""
    why = f": {pause['reason']}" if pause["reason"] else ""
    return f"since {_moment(pause['at'])} UTC{by}{why}"


def _moment(iso: str | None) -> str | None:
    return None if iso is None else f"{datetime.fromisoformat(iso):%a %Y-%m-%d %H:%M:%S}"
