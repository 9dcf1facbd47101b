"""`sagad publish`."""

from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.loading import load_application, perform
from daemon.cli.options import CONFIG, ConfigOption, JsonArgument, JsonOption, json_text
from daemon.cli.output import note, show, show_json
from daemon.clock import SystemClock
from daemon.errors import UnroutableError
from daemon.events.model import Message, check_name, message_of
from daemon.events.payload import BadPayloadError, payload_of, wanted

if TYPE_CHECKING:
    from daemon.app import App
    from daemon.config import Config
    from daemon.discovery import Discovered


def publish(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The event's name, such as order.placed.")],
    data: JsonArgument = None,
    *,
    id: Annotated[str | None, typer.Option(help="The event's id; published again, it is the same event.")] = None,
    source: Annotated[str | None, typer.Option(help="Who publishes it; else the application's name.")] = None,
    config: ConfigOption = CONFIG,
    json: JsonOption = False,
) -> None:
    """Publish an event and print its id.

    Without JSON its payload is {}.
    """
    body = json_text(data)
    try:
        check_name(name)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from None
    loaded, discovered = load_application(config)
    try:
        message = message_of(
            name,
            b"{}" if body is None else body,
            source=loaded.app.name if source is None else source,
            now_us=SystemClock().now_us(),
            id=id,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--id") from None

    async def send(app: "App") -> bool:
        if loaded.broker.embedded:  # an event that comes before the daemon's first start finds its queues
            await app.consumption.declare()
        return await app.events.send(message)

    if not perform(loaded, discovered, send):
        raise UnroutableError(_lost(name, loaded))
    for warning in misfits(message, discovered, limit_bytes=loaded.daemon.max_payload_bytes):
        note(f"warning: {warning}")
    if json:
        show_json({"id": message.envelope.id})
    else:
        show(message.envelope.id)


def misfits(message: Message, discovered: "Discovered", *, limit_bytes: int) -> list[str]:
    """Return a sentence for each of the application's subscribers that will not take this payload."""
    found = []
    for subscriber in discovered.subscribers:
        if wanted(subscriber, message.envelope.name):
            try:
                payload_of(subscriber, message, limit_bytes=limit_bytes)
            except BadPayloadError as error:
                found.append(f"{subscriber.id} will not take it. {error}")
    return found


def _lost(name: str, config: "Config") -> str:
    if config.broker.embedded:
        return f"Nobody gets {name!r}: no subscriber of {config.app.name} takes it."
    return (
        f"Nobody gets {name!r}: no queue on the exchange {config.broker.exchange!r} is bound to it. "
        "A daemon binds its subscribers' queues when it starts."
    )
