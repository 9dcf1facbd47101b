"""Clients: keep so many runs in flight, and know of each whether its start was acknowledged, and how it ended.

A request that failed is sent again, to whichever daemon listens, with the same ids; one that was acknowledged never
is: if what it said is lost, its run does not end as it has to. They are patient enough not to send again what a stopped
daemon still has in its sockets: a start that arrives after its run was rolled back starts the next attempt.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx

from tests.soak.ledger import Ledger
from tests.soak.orders import Order, next_order

_PATIENCE_S = 30.0
_AGAIN_S = 0.1
_LOOK_S = 0.4
_ENDS = frozenset({"completed", "reverted", "failed", "cancelled"})


class Load:
    """Clients in a thread of their own.

    Args:
        addresses: Tells where daemons listen at the moment.
        ledger: Tells which run an order has got.
        in_flight: How many orders there are at a time.

    Attributes:
        orders: All that were begun, by id.
        refusals: Answers that no client should get.
    """

    def __init__(self, addresses: Callable[[], list[str]], ledger: Ledger, *, seed: int, in_flight: int) -> None:
        self.orders: dict[str, Order] = {}
        self.refusals: list[str] = []
        self._addresses = addresses
        self._ledger = ledger
        self._chance = random.Random(seed)  # noqa: S311 - the same one every time
        self._in_flight = in_flight
        self._stopping = False
        self._deadline_s = float("inf")
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="load", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self, *, within_s: float, meanwhile: Callable[[], None]) -> None:
        """Begin no new order, and return when all have ended, or time is up; do `meanwhile` again and again."""
        self._deadline_s = time.monotonic() + within_s
        self._stopping = True
        while self._thread.is_alive() and time.monotonic() < self._deadline_s + 2 * _PATIENCE_S:
            meanwhile()
            self._thread.join(_LOOK_S)
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - whoever finishes is told
            self._failure = error

    async def _main(self) -> None:
        limits = httpx.Limits(max_connections=self._in_flight + 4)
        async with httpx.AsyncClient(timeout=_PATIENCE_S, trust_env=False, limits=limits) as client:
            follower = asyncio.create_task(self._follow())
            async with asyncio.TaskGroup() as group:
                for _ in range(self._in_flight):
                    group.create_task(self._client(client))
            follower.cancel()

    async def _follow(self) -> None:
        """Read in the ledger which runs the orders have got."""
        while True:
            for line in self._ledger.news():
                if line.order in self.orders and line.run_id:
                    self.orders[line.order].run_id = line.root
            await asyncio.sleep(0.1)

    async def _client(self, client: httpx.AsyncClient) -> None:
        while not self._stopping:
            order = next_order(self._chance, len(self.orders))
            self.orders[order.id] = order
            with suppress(TimeoutError):
                await self._carry_out(client, order)

    # --- one order ---

    async def _carry_out(self, client: httpx.AsyncClient, order: Order) -> None:
        if order.parcels is None:
            body = {"input": order.data, "run_id": order.id, "wait": False}
            await self._send(client, "/api/workflows/settle-order/runs", body)
        else:
            await self._publish(client, "order.placed", order.id, {"order": order.data, "parcels": order.parcels})
        order.acknowledged = True
        if order.end == "cancelled":
            await self._pause(order.pauses_s[0])
            await self._send(client, f"/api/runs/{order.id}/cancel", {}, also=409)
        elif order.parcels is None:
            await self._pause(order.pauses_s[0])
            await self._publish(client, "order.paid", f"paid-{order.id}", {"id": order.id})
        await self._await_end(client, order)

    async def _await_end(self, client: httpx.AsyncClient, order: Order) -> None:
        is_reported = order.end == "cancelled"
        while True:
            await self._pause(_LOOK_S)
            run = await self._look(client, order)
            if run is None:
                continue
            if run["status"] in _ENDS:
                order.seen = run["status"]
                return
            if not is_reported and run["steps"].get("approve", {}).get("state") == "waiting":
                await self._pause(order.pauses_s[1])
                is_reported = await self._report(client, order)

    async def _report(self, client: httpx.AsyncClient, order: Order) -> bool:
        """Report the outcome of `approve`; False if nobody waits for it, or it is not known whether it has arrived."""
        body = {"output": "yes"} if order.reported == "complete" else {"error": "no"}
        answer = await self._ask(client, "POST", f"/api/runs/{order.id}/steps/approve/{order.reported}", body)
        return answer is not None and answer.status_code == httpx.codes.ACCEPTED

    async def _look(self, client: httpx.AsyncClient, order: Order) -> dict[str, Any] | None:
        run_id = order.id if order.parcels is None else order.run_id
        answer = await self._ask(client, "GET", f"/api/runs/{run_id}") if run_id is not None else None
        if answer is None or answer.status_code != httpx.codes.OK:
            return None
        run: dict[str, Any] = answer.json()
        return run

    async def _publish(self, client: httpx.AsyncClient, name: str, event_id: str, data: dict[str, Any]) -> None:
        await self._send(client, "/api/events", {"name": name, "id": event_id, "data": data})

    # --- requests ---

    async def _send(self, client: httpx.AsyncClient, path: str, body: dict[str, Any], *, also: int = 202) -> None:
        """Send it until it is accepted."""
        while True:
            answer = await self._ask(client, "POST", path, body)
            if answer is not None and answer.status_code in {200, 202, also}:
                return
            if answer is not None:
                self.refusals.append(f"POST {path}: {answer.status_code} {answer.text[:200]}")
            await self._pause(_AGAIN_S)

    async def _ask(
        self, client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None = None
    ) -> httpx.Response | None:
        """Send it once; None if nobody answered, or somebody that takes no work at the moment."""
        addresses = self._addresses()
        if not addresses:
            await self._pause(_AGAIN_S)
            return None
        address = addresses[int(time.monotonic() * 1000) % len(addresses)]
        try:
            answer = await client.request(method, f"{address}{path}", json=body)
        except httpx.TransportError:
            await self._pause(_AGAIN_S)
            return None
        return None if answer.is_server_error else answer

    async def _pause(self, for_s: float) -> None:
        if time.monotonic() > self._deadline_s:
            raise TimeoutError
        await asyncio.sleep(for_s)
