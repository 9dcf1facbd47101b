"""`sagad subscribers`."""

import asyncio
import json as json_module
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any

from daemon.cli.loading import load_application, perform
from daemon.cli.options import CONFIG, ConfigOption, JsonOption, group
from daemon.cli.output import note, show_json, show_table
from daemon.errors import BrokerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daemon.app import App
    from daemon.config import Config
    from daemon.events.bus import QueueState

CONNECT_S = 10.0
ASK_S = 2.0
_SHOWN = ("id", "events", "state", "ready", "in_flight", "consumers", "dead_letters", "trouble")

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
    told = _told(loaded, set(queues))
    found = [_row(each, loaded, queues[each.subscriber], told.get(each.subscriber, {})) for each in states]
    if json:
        show_json(found)
    elif found:
        columns = ("subscriber", "events", "state", "ready", "in flight", "consumers", "dead letters", "trouble")
        show_table(columns, [tuple(each[name] for name in _SHOWN) for each in found])
    else:
        note("There are no subscribers.")


def _row(queue: "QueueState", config: "Config", events: "Sequence[str]", told: "Mapping[str, Any]") -> dict[str, Any]:
    override = config.subscribers.get(queue.subscriber)
    enabled = override is None or override.enabled
    # Without a daemon to ask, who consumes on the broker is seen, and nothing of why nobody does.
    state = told.get("state", "off" if not enabled else "consuming" if queue.consumers else None)
    return {
        "id": queue.subscriber,
        "events": list(events),
        "enabled": enabled,
        "state": state,
        "ready": queue.ready,
        "in_flight": told.get("in_flight") if queue.in_flight is None else queue.in_flight,
        "consumers": queue.consumers,
        "dead_letters": queue.dead,
        "trouble": told.get("trouble", ""),
    }


def _told(config: "Config", known: set[str]) -> dict[str, dict[str, Any]]:
    """Return what the daemon of this configuration says of its subscribers; nothing if none answers."""
    http = config.http
    if not http.enabled or not http.port:
        return {}
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)  # noqa: S104 - not what we listen on
    connection = HTTPConnection(host, http.port, timeout=ASK_S)
    try:
        connection.request("GET", "/api/subscribers", headers=_authorization(http.token))
        answer = connection.getresponse()
        items = json_module.loads(answer.read()).get("items", ()) if answer.status == HTTPStatus.OK else ()
        found = {item["id"]: item for item in items}
    except (OSError, HTTPException, ValueError, AttributeError, LookupError, TypeError):
        return {}  # it is not there, or it is something else
    finally:
        connection.close()
    return found if found.keys() == known else {}  # else it is another application's


def _authorization(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}
