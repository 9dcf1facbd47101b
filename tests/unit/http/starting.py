"""Runs that are started by HTTP."""

from typing import Any

import httpx

ORDER = {"sku": "tea"}


async def start(client: httpx.AsyncClient, name: str, **body: Any) -> httpx.Response:
    return await client.post(f"/api/workflows/{name}/runs", json=body)
