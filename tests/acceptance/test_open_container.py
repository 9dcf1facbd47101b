"""What a program that is no daemon gets by `open_container`."""

import subprocess
import sys

from tests.acceptance.application import Application

SCRIPT = """
import asyncio

from daemon import open_container
from workflows.products import Products


async def main() -> None:
    async with open_container("config.toml") as container:
        products = await container.aget(Products)
        print(products.get("mug").title)


asyncio.run(main())
"""


def test_a_container_opened_beside_an_application_has_its_services(shipped: Application) -> None:
    (shipped.folder / "show_mug.py").write_text(SCRIPT)

    shown = subprocess.run(
        [sys.executable, "show_mug.py"], cwd=shipped.folder, capture_output=True, text=True, timeout=30, check=False
    )

    assert (shown.stdout, shown.stderr) == ("Mug\n", "")
