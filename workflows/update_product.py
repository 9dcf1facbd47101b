"""Updates a product here, then in an external CMS; if the CMS refuses, only what was changed here is changed back."""

from datetime import timedelta

import httpx
from pydantic import BaseModel

from daemon import PermanentFailure, Ref, Retry, StepContext, StepResponse, step, transform, workflow
from workflows.products import Product, ProductChanges, Products


class ProductUpdate(BaseModel):
    """Which product to change, and how."""

    id: str
    changes: ProductChanges


class ProductChange(BaseModel):
    """A change and its way back."""

    before: Product
    changes: ProductChanges

    def former(self) -> ProductChanges:
        """Return the former values of the changed fields, and of no others."""
        changed = self.changes.model_dump(exclude_none=True)
        return ProductChanges(**self.before.model_dump(include=set(changed)))


@step("read-product", idempotent=True)
async def read_product(product_id: str, ctx: StepContext) -> Product:
    """Read the product as it is. A step of its own: it must not be read again after it was changed."""
    products = await ctx.container.aget(Products)
    product = products.get(product_id)
    if product is None:
        msg = f"there is no product {product_id!r}"
        raise PermanentFailure(msg)
    return product


@step("change-product")
async def change_product(change: ProductChange, ctx: StepContext) -> StepResponse[Product, ProductUpdate]:
    """Change the product's row, and keep the former values of the changed fields for the way back."""
    products = await ctx.container.aget(Products)
    products.change(change.before.id, change.changes)
    after = change.before.model_copy(update=change.changes.model_dump(exclude_none=True))
    return StepResponse(after, compensate_input=ProductUpdate(id=after.id, changes=change.former()))


@change_product.compensate
async def change_product_back(former: ProductUpdate, ctx: StepContext) -> None:
    """Restore the changed fields, and no others."""
    products = await ctx.container.aget(Products)
    products.change(former.id, former.changes)
    ctx.log.info("product_restored", product=former.id, fields=sorted(former.changes.model_dump(exclude_none=True)))


@step("send-to-cms", retry=Retry(max_attempts=3, delay=timedelta(milliseconds=200), backoff=2))
async def send_to_cms(product: Product, ctx: StepContext) -> None:
    """Give the CMS the product as it is now. Its address is `cms_url` in `[options.update-product]`."""
    address = ctx.options.get("cms_url")
    if not address:
        msg = "set cms_url in [options.update-product] of config.toml"
        raise PermanentFailure(msg)
    client = await ctx.container.aget(httpx.AsyncClient)
    response = await client.put(
        f"{address}/products/{product.id}",
        json=product.model_dump(),
        headers={"Idempotency-Key": ctx.idempotency_key},
    )
    if response.is_client_error:
        msg = f"the CMS refused {product.id!r} with status {response.status_code}"
        raise PermanentFailure(msg)
    response.raise_for_status()


@workflow("update-product", timeout=timedelta(minutes=5))
def update_product(update: Ref[ProductUpdate]) -> Ref[Product]:
    """Change a product here and in the CMS, or in neither."""
    before = read_product(update.pick(lambda u: u.id))
    change = transform(update, before, lambda u, b: ProductChange(before=b, changes=u.changes))
    product = change_product(change)
    send_to_cms(product)
    return product
