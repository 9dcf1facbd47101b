"""Steps that are drawn."""

from daemon import step

SVG = "{http://www.w3.org/2000/svg}"


@step("reserve")
async def reserve(sku: str) -> str:
    return sku


@reserve.compensate
async def release(sku: str) -> None:
    """Do nothing."""


@step("charge")
async def charge(sku: str) -> str:
    return sku


@step("label")
async def label(sku: str) -> str:
    return sku
