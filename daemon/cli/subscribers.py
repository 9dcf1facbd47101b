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
    """List subscribers, and `workflows`, which takes what workflows wait for, with what is on their queues."""
    loaded, discovered = load_application(config)

    async def ask(app: "App") -> "tuple[list[QueueState], dict[str, tuple[str, ...]]]":
        try:
            async with asyncio.timeout(CONNECT_S):
                while not app.bus.connected:
                    await app.clock.sleep(0.02)
        except TimeoutError:
            raise BrokerUnavailableError(f"The broker {loaded.broker.url} does not answer.") from None
        return await app.bus.queues(list(app.queues)), app.queues

    states, queues = perform(loaded, discovered, ask)
    found = [
        {
            "id": each.subscriber,
            "events": list(queues[each.subscriber]),
            "enabled": each.subscriber not in loaded.subscribers or loaded.subscribers[each.subscriber].enabled,
            "ready": each.ready,
            "in_flight": each.in_flight,
            "consumers": each.consumers,
            "dead_letters": each.dead,
        }
        for each in states
    ]
    if json:
        show_json(found)
    elif found:
        columns = ("subscriber", "events", "enabled", "ready", "in flight", "consumers", "dead letters")
        show_table(columns, [tuple(each.values()) for each in found])
    else:
        note("There are no subscribers.")
