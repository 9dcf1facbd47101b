"""`sagad topology`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.cli.loading import load_application, perform
from daemon.cli.options import CONFIG, ConfigOption, JsonOption, group
from daemon.cli.output import note, printable, show, show_json, show_table, show_title
from daemon.errors import DaemonError
from daemon.events.topology import Item, Plan, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from daemon.app import App
    from daemon.config import Config

app = group("Compare what the broker has with what the application wants, and bring about what is missing.")

CheckOption = Annotated[bool, typer.Option("--check", help="Exit with 1 if anything is missing or different.")]
DefinitionsOption = Annotated[
    bool, typer.Option("--definitions", help="Print what is missing, for `rabbitmqctl import_definitions`.")
]


@app.command()
def plan(
    *,
    check: CheckOption = False,
    definitions: DefinitionsOption = False,
    config: ConfigOption = CONFIG,
    json: JsonOption = False,
) -> None:
    """Show what is there, what is missing, different, stale or left over; changes nothing."""
    loaded, found = _performed(config, lambda app: app.bus.plan(app.consumption.subscriptions, known=app.queues))
    if definitions:
        show_json(_definitions(found, loaded))
    else:
        _show(found, loaded, json=json)
        if found.lacks and not json:
            note(_what_to_do(loaded))
    if check and found.lacks:
        raise typer.Exit(1)


@app.command()
def apply(*, config: ConfigOption = CONFIG, json: JsonOption = False) -> None:
    """Declare and bind what is missing, unbind what no subscriber takes any more; deletes and changes nothing."""
    loaded, found = _performed(config, lambda app: app.bus.apply(app.consumption.subscriptions, known=app.queues))
    _show(found, loaded, json=json)
    for trouble in found.troubles:
        note(trouble)
    if found.lacks or found.troubles:
        if _is_never(loaded):
            note(_what_to_do(loaded))
        raise typer.Exit(1)


def _performed(config: "Path", work: "Callable[[App], Awaitable[Plan]]") -> "tuple[Config, Plan]":
    loaded, discovered = load_application(config)
    return loaded, perform(loaded, discovered, work)


def _show(found: Plan, config: "Config", *, json: bool) -> None:
    if json:
        items = [
            {
                "kind": item.kind,
                "name": item.name,
                "state": item.state,
                "wanted": dict(item.wanted),
                "detail": item.detail,
            }
            for item in found.items
        ]
        whole = {"declare": config.broker.declare, "items": items, "commands": list(found.commands)}
        show_json(whole | {"troubles": list(found.troubles)})
        return
    if not found.items:
        note("There are no subscribers.")
        return
    rows = [
        (item.state, item.kind, item.name, item.wanted.get("routing_key"))
        for item in found.items
        if item.state is not State.LATER
    ]
    show_table(("state", "kind", "name", "routing key"), rows)
    _show_lines("To know", _details(found))
    _show_lines("For an administrator", list(found.commands))
    show("")
    show(_summary(found))


def _show_lines(title: str, lines: list[str]) -> None:
    if lines:
        show("")
        show_title(title)
        for line in lines:
            show(printable(line))


def _details(found: Plan) -> list[str]:
    """Return what there is to know of the items, each sentence once, with the names of those that it is about."""
    about: dict[str, dict[str, None]] = {}
    for item in found.items:
        if item.detail:
            about.setdefault(item.detail, {})[_title(item)] = None
    return [f"{', '.join(titles)}: {detail}" for detail, titles in about.items()]


def _title(item: Item) -> str:
    key = item.wanted.get("routing_key")
    return f"{item.name} <- {key}" if key else item.name


def _summary(found: Plan) -> str:
    counts = {state: len(found.of(state)) for state in State}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) + "."


def _is_never(config: "Config") -> bool:
    return config.broker.declare == "never" and not config.broker.embedded


def _what_to_do(config: "Config") -> str:
    if _is_never(config):
        return (
            "broker.declare is 'never', so nothing is declared. Who may configure the broker runs "
            "`SAGAD_BROKER__DECLARE=missing sagad topology apply`, or loads what "
            "`sagad topology plan --definitions` prints by `rabbitmqctl import_definitions`."
        )
    return "`sagad topology apply` brings about what is missing, and so does a daemon when it starts."


def _definitions(found: Plan, config: "Config") -> dict[str, Any]:
    if config.broker.embedded:
        raise DaemonError("There are no definitions: the embedded broker is not configured. See broker.url.")
    from yarl import URL  # noqa: PLC0415 - aio-pika and what it needs are slow to import

    from daemon.events.rabbitmq.plan import definitions  # noqa: PLC0415
    from daemon.events.rabbitmq.target import vhost_of  # noqa: PLC0415

    return definitions(found.items, vhost_of(URL(config.broker.url)))
