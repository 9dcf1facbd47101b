"""What is found in an application's folder, and every mistake in its modules."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from daemon.discovery import PACKAGES, discover
from daemon.errors import ConfigurationError

SUBSCRIBER = """
from daemon import Event, SubscriberContext, subscriber

class {name}(Event, name="test.{name}"):
    id: str

@subscriber({name}, id="{id}")
async def handle(event: {name}, ctx: SubscriberContext) -> None: ...
"""
JOB = """
from daemon import JobContext, job

@job("0 0 * * *", name="{name}")
async def fire(ctx: JobContext) -> None: ...
"""
WORKFLOW = """
from daemon import Ref, step, workflow

@step("{name}-step")
async def only(value: str) -> str:
    return value

@workflow("{name}")
def composed(value: Ref[str]) -> Ref[str]:
    return only(value)
"""
SERVICE = """
from daemon import service

class Stock: ...

@service
def stock() -> Stock:
    return Stock()
"""


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    modules, path = dict(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.path[:] = path


def application(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def problems(folder: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        discover(folder)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("init", [True, False])
def test_everything_in_the_three_packages_is_found(tmp_path: Path, init: bool) -> None:  # noqa: FBT001
    files = {
        "workflows/place_order.py": WORKFLOW.format(name="place-order"),
        "workflows/services.py": SERVICE,
        "subscribers/orders/placed.py": SUBSCRIBER.format(name="Placed", id="order-placed"),
        "jobs/nightly.py": JOB.format(name="nightly"),
    }
    if init:
        files |= {f"{package}/__init__.py": "" for package in (*PACKAGES, "subscribers/orders")}

    found = discover(application(tmp_path, files))

    assert [each.name for each in found.workflows] == ["place-order"]
    assert [each.id for each in found.subscribers] == ["order-placed"]
    assert [each.name for each in found.jobs] == ["nightly"]
    assert [each.provides.__name__ for each in found.services] == ["Stock"]


def test_a_folder_without_any_package_is_an_empty_application(tmp_path: Path) -> None:
    found = discover(tmp_path)

    assert (found.workflows, found.subscribers, found.jobs, found.services) == ((), (), (), ())


def test_names_with_a_leading_underscore_are_left_alone(tmp_path: Path) -> None:
    folder = application(
        tmp_path,
        {
            "jobs/_draft.py": "raise RuntimeError",
            "jobs/_old/job.py": "raise RuntimeError",
            "jobs/_shared.py": JOB.format(name="shared"),
            "jobs/nightly.py": "from jobs._shared import fire\n" + JOB.format(name="nightly"),
        },
    )

    found = discover(folder)

    assert [each.name for each in found.jobs] == ["nightly"]


def test_what_one_module_imports_from_another_is_counted_once(tmp_path: Path) -> None:
    folder = application(
        tmp_path,
        {
            "workflows/place_order.py": WORKFLOW.format(name="place-order"),
            "workflows/again.py": "from workflows.place_order import composed\n",
            "jobs/nightly.py": "from workflows.place_order import composed\nfrom library import fire as other\n"
            + JOB.format(name="nightly"),
            "library.py": JOB.format(name="library"),
        },
    )

    found = discover(folder)

    assert [each.name for each in found.workflows] == ["place-order"]
    assert [each.name for each in found.jobs] == ["nightly"]


def test_what_a_function_of_another_module_made_here_is_found(tmp_path: Path) -> None:
    folder = application(
        tmp_path,
        {
            "making.py": "from daemon import JobContext, job\n\n"
            "def made(name):\n    @job('@daily', name=name)\n    async def fire(ctx: JobContext) -> None: ...\n"
            "    return fire\n",
            "jobs/many.py": "from making import made\none = made('one')\ntwo = made('two')\n",
        },
    )

    found = discover(folder)

    assert [each.name for each in found.jobs] == ["one", "two"]


def test_every_module_that_cannot_be_imported_is_reported_with_its_line(tmp_path: Path) -> None:
    folder = application(
        tmp_path,
        {
            "shop.py": "def price():\n    return 1 / 0\n",
            "jobs/broken.py": "def f(:\n    pass\n",
            "jobs/dividing.py": "from shop import price\n\nprice()\n",
            "jobs/exiting.py": "import sys\nsys.exit(3)\n",
            "jobs/uses_broken.py": "import jobs.broken\n",
            "jobs/wrong-name.py": "",
            "subscribers/missing.py": "\nimport no_such_package\n",
            "subscribers/misspelt.py": "from daemon import subscribr\n",
            "subscribers/secretive.py": "raise ConnectionError('amqp://u:hunter2@host:\\n is away')\n",
            "workflows/undone.py": "from daemon import workflow\n\n@workflow('undone')\nasync def undone(): ...\n",
            "workflows.py": "",
        },
    )

    found = problems(folder)

    install, guess = f"Install it in the environment of sagad, {sys.prefix}.", "Did you mean 'subscriber'?"
    assert sorted(line for line in found if not line.startswith("workflows/")) == [
        "jobs/broken.py:1: SyntaxError: invalid syntax",
        "jobs/exiting.py:2: SystemExit: 3",
        "jobs/wrong-name.py: cannot be imported by this name: rename it, such as wrong_name.py.",
        "shop.py:2: ZeroDivisionError: division by zero",
        f"subscribers/missing.py:2: ModuleNotFoundError: No module named 'no_such_package'. {install}",
        f"subscribers/misspelt.py:1: ImportError: cannot import name 'subscribr' from 'daemon'. {guess}",
        "subscribers/secretive.py:1: ConnectionError: amqp://u:***@host: is away",
    ]
    (composition,) = (line for line in found if line.startswith("workflows/"))
    assert composition.startswith("workflows/undone.py:3: ")
    assert "write `def`" in composition


def test_a_single_module_in_place_of_a_package_is_pointed_out(tmp_path: Path) -> None:
    folder = application(tmp_path, {"jobs.py": JOB.format(name="nightly")})

    found = problems(folder)

    assert found == ["jobs.py: is one module: make it a package, and this file jobs/jobs.py."]


def test_a_name_is_taken_once_in_the_whole_application(tmp_path: Path) -> None:
    folder = application(
        tmp_path,
        {
            "jobs/a.py": JOB.format(name="nightly"),
            "jobs/b.py": JOB.format(name="nightly"),
            "subscribers/a.py": SUBSCRIBER.format(name="A", id="greet"),
            "subscribers/b.py": SUBSCRIBER.format(name="B", id="nightly"),
            "workflows/a.py": WORKFLOW.format(name="greet"),
            "workflows/b.py": SERVICE,
            "workflows/c.py": "from workflows.b import Stock\nfrom daemon import service\n\n"
            "@service\ndef other() -> Stock:\n    return Stock()\n",
        },
    )

    found = problems(folder)

    shared = "workflows, subscribers and jobs share their names, by which [options] knows them. Rename one of them."
    assert found == [
        f"subscribers/a.py:7: the subscriber 'greet' has the name of the workflow at workflows/a.py:8: {shared}",
        f"jobs/a.py:4: the job 'nightly' has the name of the subscriber at subscribers/b.py:7: {shared}",
        f"jobs/b.py:4: the job 'nightly' has the name of the subscriber at subscribers/b.py:7: {shared}",
        "workflows/c.py:4: other provides Stock, and so does workflows/b.py:6: keep one of them.",
    ]


def test_two_workflows_of_one_name_are_refused_with_both_places(tmp_path: Path) -> None:
    folder = application(
        tmp_path,
        {
            "workflows/a.py": WORKFLOW.format(name="twice"),
            "workflows/b.py": WORKFLOW.format(name="twice").replace("only", "another"),
        },
    )

    found = problems(folder)

    assert len(found) == 1
    assert found[0].startswith("workflows/b.py:8: ")
    assert "twice" in found[0]
    assert "workflows/a.py:8" in found[0]


@pytest.mark.parametrize("name", ["workflows", "wait", "unrouted"])
def test_the_names_of_our_own_queues_are_no_subscriber_ids(tmp_path: Path, name: str) -> None:
    folder = application(tmp_path, {"subscribers/a.py": SUBSCRIBER.format(name="A", id=name)})

    found = problems(folder)

    assert len(found) == 1
    assert found[0].startswith("subscribers/a.py:7: ")
    assert "reserved" in found[0]


def test_a_package_that_was_imported_from_elsewhere_is_an_error_that_says_so(tmp_path: Path) -> None:
    folder = application(tmp_path / "app", {"jobs/nightly.py": JOB.format(name="nightly")})
    other = ModuleType("jobs")
    other.__path__ = [str(tmp_path / "other/jobs")]
    sys.modules["jobs"] = other

    found = problems(folder)

    (problem,) = found
    assert problem.startswith(
        f"jobs: is imported from {tmp_path}/other/jobs already: start the application in a process"
    )


def test_packages_of_the_same_name_elsewhere_on_the_path_are_never_taken(tmp_path: Path) -> None:
    other = application(tmp_path / "other", {"jobs/__init__.py": "", "jobs/foreign.py": JOB.format(name="foreign")})
    folder = application(tmp_path / "app", {"jobs/nightly.py": JOB.format(name="nightly")})
    sys.path.insert(0, str(other))

    found = discover(folder)

    assert [each.name for each in found.jobs] == ["nightly"]
    assert sys.path[0] == str(folder)


def test_the_same_folder_can_be_discovered_again(tmp_path: Path) -> None:
    folder = application(tmp_path, {"jobs/nightly.py": JOB.format(name="nightly")})

    first, second = discover(folder), discover(folder)

    assert first.jobs == second.jobs
    assert sys.path.count(str(folder)) == 1
