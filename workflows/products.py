"""The services of `update-product`: products in a SQLite table, and a client for other programs' HTTP."""

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
from pydantic import BaseModel

from daemon import service

_COLUMNS = ("title", "price_cents")


class Product(BaseModel):
    """One product."""

    id: str
    title: str
    price_cents: int


class ProductChanges(BaseModel):
    """New values of some of a product's fields; None leaves a field as it is."""

    title: str | None = None
    price_cents: int | None = None


class Products:
    """Products in a table; what happens twice has the effect of once."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.execute("CREATE TABLE IF NOT EXISTS product (id TEXT PRIMARY KEY, title TEXT, price_cents INTEGER)")
        database.execute("INSERT OR IGNORE INTO product VALUES ('mug', 'Mug', 900)")
        database.commit()

    def get(self, product_id: str) -> Product | None:
        """Return a product, or None if there is none."""
        row = self._database.execute("SELECT title, price_cents FROM product WHERE id = ?", (product_id,)).fetchone()
        return Product(id=product_id, title=row[0], price_cents=row[1]) if row else None

    def change(self, product_id: str, changes: ProductChanges) -> None:
        """Set the fields that are given, and no others."""
        with self._database:
            for column, value in changes.model_dump(exclude_none=True, include=set(_COLUMNS)).items():
                self._database.execute(f"UPDATE product SET {column} = ? WHERE id = ?", (value, product_id))


@service
def products() -> Iterator[Products]:
    """Open the table: in systemd's state directory, else in `var` beside the application."""
    folder = Path(os.environ.get("STATE_DIRECTORY") or Path(__file__).parent.parent / "var")
    folder.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(folder / "products.db", check_same_thread=False)
    yield Products(database)
    database.close()


@service
async def http_client() -> AsyncIterator[httpx.AsyncClient]:
    """Open one HTTP client for all steps."""
    async with httpx.AsyncClient(timeout=10) as client:
        yield client
