"""`sagad dead-letters`."""

import json as json_module
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.cli.loading import load_application, perform
from daemon.cli.options import CONFIG, ConfigOption, JsonOption, group
from daemon.cli.output import note, printable, show, show_fields, show_json, show_table, show_title
from daemon.clock import from_us, iso_of
from daemon.errors import DaemonError, did_you_mean
from daemon.events.bus import REPLAY_PER_S
from daemon.events.model import Choice, DeadLetter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from daemon.app import App
    from daemon.discovery import Discovered

app = group("List, show, replay and discard dead letters.")

SubscriberOption = Annotated[str | None, typer.Option(help="Of this subscriber.")]
ErrorOption = Annotated[str | None, typer.Option(help="With this text in their reason or error, ignoring case.")]
IdOption = Annotated[list[str] | None, typer.Option(help="With this event id; may be repeated.")]
IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Event ids.")]
AllOption = Annotated[bool, typer.Option("--all", help="All of them.")]


RateOption = Annotated[float, typer.Option("--rate", min=0.001, help="At most so many a second.")]


@app.command("list")
def list_(
    *,
    subscriber: SubscriberOption = None,
    error: ErrorOption = None,
    id: IdOption = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    config: ConfigOption = CONFIG,
    json: JsonOption = False,
) -> None:
    """List dead letters, oldest first; looking deletes none."""
    loaded, discovered = load_application(config)
    choice = Choice(frozenset(id) if id else None, error)

    async def look(app: "App") -> list[DeadLetter]:
        return await _chosen(app, subscriber, choice, limit=limit)

    found = sorted(perform(loaded, discovered, look), key=lambda letter: letter.dead_us)[:limit]
    if json:
        show_json([_as_json(letter) for letter in found])
    elif found:
        show_table(
            ("event id", "event", "subscriber", "reason", "attempts", "died (UTC)", "error"),
            [
                (
                    letter.event_id,
                    letter.event_name,
                    letter.subscriber,
                    letter.reason,
                    letter.attempts,
                    from_us(letter.dead_us),
                    letter.error,
                )
                for letter in found
            ],
        )
    else:
        note("No such dead letters.")


@app.command("show")
def show_(
    event_id: Annotated[str, typer.Argument(metavar="ID", help="The event's id.")],
    *,
    subscriber: SubscriberOption = None,
    config: ConfigOption = CONFIG,
    json: JsonOption = False,
) -> None:
    """Show a dead letter: its payload, its headers and why it is one."""
    loaded, discovered = load_application(config)

    async def look(app: "App") -> list[DeadLetter]:
        return await _chosen(app, subscriber, Choice(frozenset({event_id})), limit=1)

    found = perform(loaded, discovered, look)
    if not found:
        raise DaemonError(f"No dead letter has the event id {event_id!r}.")
    if len(owners := {letter.subscriber for letter in found}) > 1:
        raise DaemonError(
            f"{' and '.join(sorted(owners))} have a dead letter of this event: name one with --subscriber."
        )
    document = _as_json(found[0])
    if json:
        show_json(document)
        return
    traceback, data = document.pop("traceback"), document.pop("data")
    show_fields({name.replace("_", " "): _plain(value) for name, value in document.items()})
    for title, text in (("Payload", json_module.dumps(data, ensure_ascii=False, indent=2)), ("Traceback", traceback)):
        if text:
            show("")
            show_title(title)
            show(printable(text, keep="\n\t").rstrip())


@app.command()
def replay(
    ids: IdsArgument = None,
    *,
    subscriber: SubscriberOption = None,
    error: ErrorOption = None,
    id: IdOption = None,
    all: AllOption = False,  # noqa: A002 - names the option
    rate: RateOption = REPLAY_PER_S,
    config: ConfigOption = CONFIG,
    json: JsonOption = False,
) -> None:
    """Put dead letters back on their subscriber's queue, as attempt 1 with the same event id."""
    choice = _choice(subscriber, error, [*(ids or ()), *(id or ())], everything=all)
    count = _perform_each(config, subscriber, choice, lambda app, each: app.bus.replay(each, choice, per_s=rate))
    show_json({"replayed": count}) if json else show(f"Replayed {_counted(count)}.")


@app.command()
def discard(
    ids: IdsArgument = None,
    *,
    subscriber: SubscriberOption = None,
    error: ErrorOption = None,
    id: IdOption = None,
    all: AllOption = False,  # noqa: A002 - names the option
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = CONFIG,
    json: JsonOption = False,
) -> None:
    """Delete dead letters for good; asks first on a terminal."""
    choice = _choice(subscriber, error, [*(ids or ()), *(id or ())], everything=all)
    if sys.stdin.isatty() and not yes:
        typer.confirm(f"Delete {choice_text(subscriber, choice)} for good?", abort=True, err=True)
    count = _perform_each(config, subscriber, choice, lambda app, each: app.bus.discard(each, choice))
    show_json({"discarded": count}) if json else show(f"Discarded {_counted(count)}.")


def choice_text(subscriber: str | None, choice: Choice) -> str:
    """Return a choice in words."""
    said = "all dead letters" if choice.everything else "the dead letters"
    if subscriber is not None:
        said += f" of {subscriber}"
    if choice.ids:
        said += f" with the event id {' or '.join(sorted(choice.ids))}"
    if choice.error is not None:
        said += f" with {choice.error!r} in their error"
    return said


def _choice(subscriber: str | None, error: str | None, ids: list[str], *, everything: bool) -> Choice:
    if not (subscriber or error or ids or everything):
        what = "Say which: event ids, --subscriber, --error, or --all."
        raise typer.BadParameter(what)
    return Choice(frozenset(ids) if ids else None, error)


def _perform_each(
    path: "Path", subscriber: str | None, choice: Choice, work: "Callable[[App, str], Awaitable[int]]"
) -> int:
    """Do something with the chosen dead letters, subscriber by subscriber, and return with how many."""
    config, discovered = load_application(path)

    async def do(app: "App") -> int:
        return sum([await work(app, each) for each in _owners(app, subscriber)])

    count = perform(config, discovered, do)
    if not count:
        _check_name(subscriber, discovered)
    if not count and choice.ids:
        raise DaemonError(f"There are none: {choice_text(subscriber, choice)}.")
    return count


def _owners(app: "App", subscriber: str | None) -> list[str]:
    return [subscriber] if subscriber else list(app.queues)


async def _chosen(app: "App", subscriber: str | None, choice: Choice, *, limit: int) -> list[DeadLetter]:
    """Return the chosen dead letters, of each subscriber's first `limit`."""
    owners = _owners(app, subscriber)
    found = [letter for each in owners for letter in await app.bus.dead_letters(each, choice, limit=limit)]
    if not found:
        _check_name(subscriber, app.discovered)
    return found


def _check_name(subscriber: str | None, discovered: "Discovered") -> None:
    """Refuse a subscriber that has no dead letters and is not there; one that was removed may still have some."""
    from daemon.declared import AWAITED  # noqa: PLC0415 - `--help` does not need it

    known = [*(each.id for each in discovered.subscribers), AWAITED]
    if subscriber is not None and subscriber not in known:
        hint = did_you_mean(subscriber, known)
        raise DaemonError(f"No subscriber is named {subscriber!r}, and there are no dead letters of one.{hint}")


def _as_json(letter: DeadLetter) -> dict[str, Any]:
    try:
        data = json_module.loads(letter.body)
    except ValueError:
        data = letter.body.decode(errors="backslashreplace")
    return {
        "subscriber": letter.subscriber,
        "event_id": letter.event_id,
        "event_name": letter.event_name,
        "source": letter.source,
        "reason": letter.reason,
        "error": letter.error,
        "attempts": letter.attempts,
        "first_seen_at": iso_of(letter.first_seen_us),
        "dead_at": iso_of(letter.dead_us),
        "headers": dict(letter.headers),
        "data": data,
        "traceback": letter.traceback,
    }


def _plain(value: object) -> object:
    return json_module.dumps(value, ensure_ascii=False) if isinstance(value, dict) and value else value or None


def _counted(count: int) -> str:
    return f"{count} dead letter{'' if count == 1 else 's'}"
