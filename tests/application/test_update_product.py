"""A product is changed here and in the CMS, or in neither."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from daemon.testing import Harness
from workflows.products import Product, ProductChanges, Products
from workflows.update_product import ProductUpdate, update_product

SHIPPED = Path(__file__).parents[2]
CHEAPER = ProductUpdate(id="mug", changes=ProductChanges(price_cents=700))


class Cms:
    """A CMS that answers with these statuses, one after the other, and then with the last one."""

    def __init__(self) -> None:
        self.statuses = [200]
        self.seen: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        return httpx.Response(self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0])


@pytest.fixture
def cms() -> Cms:
    return Cms()


@pytest.fixture
def products() -> Iterator[Products]:
    database = sqlite3.connect(":memory:", check_same_thread=False)
    yield Products(database)
    database.close()


@pytest.fixture
async def shop(cms: Cms, products: Products) -> AsyncIterator[Harness]:
    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(cms)) as client,
        Harness(SHIPPED, services={Products: products, httpx.AsyncClient: client}) as app,
    ):
        yield app


async def test_a_product_is_changed_here_and_there(shop: Harness, cms: Cms, products: Products) -> None:
    run = await update_product(shop.container).run(CHEAPER)

    assert run.result == products.get("mug") == Product(id="mug", title="Mug", price_cents=700)
    assert [request.url.path for request in cms.seen] == ["/products/mug"]


async def test_a_cms_that_refuses_has_the_product_changed_back(shop: Harness, cms: Cms, products: Products) -> None:
    cms.statuses = [409]

    run = await update_product(shop.container).run(CHEAPER, raise_on_error=False)

    assert (run.status, run.compensated) == ("reverted", ["change-product"])
    assert products.get("mug") == Product(id="mug", title="Mug", price_cents=900)


async def test_a_cms_that_is_away_for_a_moment_is_asked_again_with_the_same_key(shop: Harness, cms: Cms) -> None:
    cms.statuses = [503, 503, 200]

    await update_product(shop.container).run(CHEAPER, wait=False)
    await shop.settle()
    at_once = len(cms.seen)
    await shop.advance(timedelta(seconds=1))

    [run] = shop.runs(workflow="update-product")
    assert (run.status, at_once, len(cms.seen)) == ("completed", 1, 3)
    assert len({request.headers["Idempotency-Key"] for request in cms.seen}) == 1
