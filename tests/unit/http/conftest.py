"""The API over a real engine and a real bus, both in memory, and the workflows of a shop."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
import svcs
from fastapi import FastAPI
from pydantic import BaseModel, field_validator

from daemon import Retry, StepResponse, job, step, workflow
from daemon.clock import SystemClock
from daemon.config import HttpConfig
from daemon.engine.engine import WorkflowEngine
from daemon.engine.ports import Ports
from daemon.events.bus import Delivery, Fare, Subscription
from daemon.events.embedded import EmbeddedBus
from daemon.events.publisher import EventBus
from daemon.http.api import create_api
from daemon.http.ports import ApiPorts
from daemon.log import captured_log
from daemon.schedule.desk import JobDesk
from daemon.store.memory import MemoryStore
from daemon.workflow.ref import Ref

LIMIT_BYTES = 2_000
WITHIN_S = 10.0
OWN = "http://localhost:8420"


class Address(BaseModel):
    street: str
    number: int


class Order(BaseModel):
    sku: str
    address: Address | None = None

    @field_validator("sku")
    @classmethod
    def _is_known(cls, sku: str) -> str:
        if sku == "unknown":
            raise ValueError("there is no such sku")
        return sku


class Receipt(BaseModel):
    text: str


@step("write-receipt")
async def write_receipt(order: Order) -> Receipt:
    return Receipt(text=f"one {order.sku}")


@workflow("sell-something")
def place_order(order: Ref[Order]) -> Ref[Receipt]:
    """Sell something."""
    return write_receipt(order)


@step("count-stock")
async def count_stock() -> int:
    return 7


@workflow("take-stock")
def take_stock() -> Ref[int]:
    return count_stock()


@step("open-account")
async def open_account() -> StepResponse[str, str]:
    return StepResponse("a1", compensate_input="a1")


@open_account.compensate
async def close_account(account: str) -> None:
    pass


@step("charge-account")
async def charge_account(account: str) -> None:
    raise RuntimeError("no money \udcff")  # half a surrogate pair, as a file name may have it


@workflow("charge")
def charge() -> None:
    charge_account(open_account())


@step("knock", retry=Retry(max_attempts=2, delay=timedelta(hours=1)))
async def knock() -> None:
    raise ConnectionError("nobody is in")


@workflow("visit")
def visit() -> None:
    knock()


@job("30 2 * * *")
async def nightly() -> None:
    pass


@job(timedelta(hours=1))
async def off() -> None:
    pass


class Gate:
    """What the workflow `wait-at-the-gate` waits for."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()


def workflow_at(gate: Gate) -> Any:
    @step("stand")
    async def stand() -> str:
        gate.reached.set()
        await gate.opened.wait()
        return "through"

    @workflow("wait-at-the-gate")
    def wait_at_the_gate() -> Ref[str]:
        return stand()

    return wait_at_the_gate


class Shop:
    """One application in memory, and its API."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.store = MemoryStore()
        self.gate = Gate()
        ports = Ports(self.store, self.clock, "shop", "process-1", LIMIT_BYTES, 30.0)
        self.engine = WorkflowEngine(ports, containers=_container)
        self.engine.register([place_order, take_stock, charge, visit, workflow_at(self.gate)])
        self.bus = EmbeddedBus(self.store, app="shop", owner="process-1", clock=self.clock)
        self.live = {"loop": True}
        self.ready = {"running": True, "broker": True}
        self.away_for: set[str] = set()  # the paths of what cannot be stored
        self.trouble: Exception | None = None  # what asking for readiness or subscribers raises
        self.received: asyncio.Queue[Delivery] = asyncio.Queue()

    async def start(self) -> None:
        await self.store.open()
        await self.store.register("shop", "process-1", lease_s=60.0)
        await self.bus.start()
        await self.bus.subscribe(Subscription("greet", ("customer.*",), prefetch=10), self.received.put_nowait)

    async def aclose(self) -> None:
        await self.engine.drain(0)
        await self.bus.aclose()
        await self.store.aclose()

    async def next_delivery(self) -> Delivery:
        return await asyncio.wait_for(self.received.get(), WITHIN_S)

    def api(self, **http: Any) -> FastAPI:
        """Return the API; `http` is the table of that name."""
        return create_api(
            ApiPorts(
                app="shop",
                engine=self.engine,
                events=EventBus(self.bus, app="shop", clock=self.clock, max_payload_bytes=LIMIT_BYTES),
                bus=self.bus,
                jobs=JobDesk(self.store, self.clock, app="shop", jobs=lambda: [nightly], declared=[nightly, off]),
                clock=self.clock,
                http=HttpConfig(**http),
                max_payload_bytes=LIMIT_BYTES,
                live=self._live,
                ready=self._ready,
                draining=lambda: not self.ready["running"],
                away=lambda path: path in self.away_for,
                subscribers=self._subscribers,
                fares=lambda: dict.fromkeys(self._subscribers(), Fare("paused", "it sleeps", 3)),
            )
        )

    @asynccontextmanager
    async def client(self, base_url: str = OWN, **http: Any) -> AsyncIterator[httpx.AsyncClient]:
        """Return a client of an API that has these settings."""
        transport = httpx.ASGITransport(app=self.api(**http))
        async with httpx.AsyncClient(transport=transport, base_url=base_url) as opened:
            yield opened

    async def _live(self) -> dict[str, bool]:
        return self.live

    async def _ready(self) -> dict[str, bool]:
        if self.trouble is not None:
            raise self.trouble
        return self.ready

    def _subscribers(self) -> dict[str, tuple[str, ...]]:
        if self.trouble is not None:
            raise self.trouble
        return {"greet": ("customer.*",)}


def _container() -> AbstractAsyncContextManager[svcs.Container]:
    return svcs.Container(svcs.Registry())


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    opened = Shop()
    await opened.start()
    yield opened
    await opened.aclose()


@pytest.fixture
async def client(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    """A client on this machine; no token is set."""
    async with shop.client() as opened:
        yield opened


@pytest.fixture
def log() -> Iterator[list[dict[str, Any]]]:
    """What is logged during the test."""
    with captured_log() as lines:
        yield lines


def problem_of(response: httpx.Response, status: int) -> dict[str, Any]:
    """Return the problem that a response is, having checked its form."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]
    return problem


def wrong_fields(response: httpx.Response) -> dict[str, str]:
    """Return what a 422 says of each field."""
    return {each["field"]: each["message"] for each in problem_of(response, 422)["errors"]}
