"""`sagad subscribers`."""

import asyncio
from typing import TYPE_CHECKING

from daemon.cli.loading import load_application, perform
from daemon.cli.options import CONFIG, ConfigOption, JsonOption, group
from daemon.cli.output import note, show_json, show_table
from daemon.errors import BrokerUnavailableError

if TYPE_CHECKING:
    from daemon.app import App
    from daemon.events.bus import QueueState

CONNECT_S = 10.0

app = group("List the application's subscribers.")


@app.command("list")
def list_(*, config: ConfigOption = CONFIG, json: JsonOption = False) -> None:
    """List subscribers with what is on their queues."""
    loaded, discovered = load_application(config)

    async def ask(app: "App") -> "list[QueueState]":
        try:
            async with asyncio.timeout(CONNECT_S):
                while not app.bus.connected:
                    await app.clock.sleep(0.02)
        except TimeoutError:
            raise BrokerUnavailableError(f"The broker {loaded.broker.url} does not answer.") from None
        return await app.bus.queues([each.id for each in discovered.subscribers])

    states = {state.subscriber: state for state in perform(loaded, discovered, ask)}
    found = [
        {
            "id": each.id,
            "events": list(each.patterns),
            "enabled": each.id not in loaded.subscribers or loaded.subscribers[each.id].enabled,
            "ready": states[each.id].ready,
            "in_flight": states[each.id].in_flight,
            "consumers": states[each.id].consumers,
            "dead_letters": states[each.id].dead,
        }
        for each in discovered.subscribers
    ]
    if json:
        show_json(found)
    elif found:
        columns = ("subscriber", "events", "enabled", "ready", "in flight", "consumers", "dead letters")
        show_table(columns, [tuple(each.values()) for each in found])
    else:
        note("There are no subscribers.")
