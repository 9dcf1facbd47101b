"""A message that kills every daemon which handles it, among messages that harm nobody."""

import signal
from pathlib import Path

from tests.acceptance.application import Application
from tests.acceptance.broker import Broker
from tests.acceptance.process import DaemonProcess, until

INNOCENT = [f"parcel-{number}" for number in range(12)]
KILLS = """
import os
import signal
from pathlib import Path

from daemon import Event, SubscriberContext, subscriber


class ParcelSent(Event, name="parcel.sent"):
    id: str


@subscriber(ParcelSent, id="hello-customer")
async def pack(event: ParcelSent, ctx: SubscriberContext) -> None:
    with Path(ctx.options["ledger"]).open("a") as ledger:
        ledger.write(f"{event.id}\\n")
    if event.id == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def crash(daemon: DaemonProcess) -> None:
    """Return once it has killed itself."""
    assert daemon.wait() == -signal.SIGKILL


def test_a_message_that_kills_every_daemon_is_given_up_after_three_and_nobody_else_is(
    tmp_path: Path, broker: Broker
) -> None:
    ledger = tmp_path / "handled.txt"
    app = Application(tmp_path / "app", broker.settings, parts=())
    app.configure({"options.hello-customer.ledger": str(ledger)})
    app.add("subscribers/pack.py", KILLS)
    with app.daemon() as daemon:
        daemon.send(signal.SIGTERM)
        daemon.wait()
    for id in (*INNOCENT[:6], "poison", *INNOCENT[6:]):
        broker.publish("parcel.sent", f'{{"id": "{id}"}}'.encode(), message_id=id)

    for _ in range(3):
        with app.daemon(wait=False) as daemon:
            crash(daemon)
    with app.daemon() as daemon:
        daemon.wait_for("event_dead_lettered", event_id="poison", outcome="dead_lettered")
        until(lambda: {*ledger.read_text().split()} == {*INNOCENT, "poison"}, "everybody else is handled")
        broker.publish("parcel.sent", b'{"id": "new"}', message_id="new")
        daemon.wait_for("event_handled", event_id="new", outcome="ok")
        letters = app.sagad_json("dead-letters", "list")
        assert daemon.stop() == 0

    assert [(letter["event_id"], letter["reason"]) for letter in letters] == [("poison", "crashed")]
    assert ledger.read_text().split().count("poison") == 3
