"""The README and the documentation are true: their code runs, their commands print what they show."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.application import SHIPPED, Application
from tests.acceptance.broker import Broker
from tests.acceptance.pages import PAGES, Reader, blocks_of, configuration_keys, configuration_table

RUN_THE_TESTS = """
import asyncio, test_greetings, test_orders
for module in (test_greetings, test_orders):
    for name, test in vars(module).items():
        if name.startswith("test_"):
            asyncio.run(test())
            print(name)
"""
ASK_THE_WEB_APPLICATION = """
import asyncio, httpx
from web import web

async def main() -> None:
    client = httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="http://web")
    async with web.router.lifespan_context(web), client:
        print((await client.post("/greetings/1", json={"name": "Ada"})).text)

asyncio.run(main())
"""


@pytest.fixture
def application(tmp_path: Path) -> Application:
    """The shipped application under its own name."""
    return Application(tmp_path / "app", {"app.name": "sagad-example"})


def saved(application: Application, page: str) -> Application:
    """Save what a page has of Python, as its reader would."""
    for block in blocks_of(SHIPPED / page):
        if block.file:
            application.add(block.file, block.text)
    return application


def python(application: Application, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=application.folder, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(SHIPPED)))
def test_a_page_shows_what_happens(page: Path, application: Application) -> None:
    with Reader(application) as reader:
        reader.read(page)


def test_the_first_screen_shows_the_shipped_workflow_subscriber_and_job() -> None:
    shown = [block.shipped for block in blocks_of(SHIPPED / "README.md") if block.shipped]

    assert shown == ["workflows/hello_world.py", "subscribers/greet_customer.py", "jobs/run_once_a_day.py"]


def test_the_configuration_table_has_every_key_and_its_default() -> None:
    assert configuration_table() == configuration_keys()


def test_the_tests_that_are_shown_pass(application: Application) -> None:
    saved(application, "README.md")

    passed = python(application, "-c", RUN_THE_TESTS).splitlines()

    assert len(passed) == 3


def test_the_web_application_starts_runs_that_everybody_sees(application: Application) -> None:
    saved(application, "README.md")

    answers = [python(application, "-c", ASK_THE_WEB_APPLICATION) for _ in range(2)]
    runs = application.sagad_json("runs", "list")["items"]

    assert answers == ['{"message":"hello, Ada"}\n'] * 2
    assert [(run["run_id"], run["result"]) for run in runs] == [("greeting-1", {"message": "hello, Ada"})]


def test_other_programs_publish_as_the_pages_show(application: Application, broker: Broker) -> None:
    application.configure(broker.settings)
    for page in ("README.md", "docs/events.md"):
        for block in blocks_of(SHIPPED / page):
            if block.file and block.file.startswith("publish_"):
                here = block.text.replace("amqp://guest:guest@localhost/", broker.url)
                application.add(block.file, here.replace('"events"', repr(broker.exchange)))

    with application.daemon() as daemon:
        python(application, "publish_with_pika.py")
        python(application, "publish_with_pika.py")
        python(application, "publish_cloud_event.py")
        ada = daemon.wait_for("greeted", message="hello, Ada")
        grace = daemon.wait_for("greeted", message="hello, Grace")
        daemon.wait_for("event_handled", event_id="signup-c1", outcome="duplicate")

    assert (ada["event_id"], grace["event_id"]) == ("signup-c1", "signup-c2")
    assert len(daemon.logged("greeted", message="hello, Ada")) == 1
