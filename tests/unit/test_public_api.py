"""What an application may import: named in one place, described where `help` looks."""

import ast
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import daemon
import daemon.testing

MODULES = [daemon, daemon.testing]


PUBLIC = [(name, getattr(module, name)) for module in MODULES for name in module.__all__]
NAMES = [name for name, _ in PUBLIC]


def callables_of(value: Any) -> Iterator[Any]:
    yield value
    if inspect.isclass(value):
        for each in value.__mro__:
            if each.__module__.startswith("daemon."):
                yield from (
                    member for name, member in vars(each).items() if inspect.isfunction(member) and name != "__hash__"
                )


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_public_module_imports_and_names_what_it_imports_in_order_and_nothing_else(module: ModuleType) -> None:
    description, *imports, names = ast.parse(inspect.getsource(module)).body

    imported = [alias.name for each in imports if isinstance(each, ast.ImportFrom) for alias in each.names]
    assert isinstance(description, ast.Expr)
    assert len([each for each in imports if isinstance(each, ast.ImportFrom)]) == len(imports)
    assert isinstance(names, ast.Assign)
    assert ast.literal_eval(names.value) == sorted(imported)


@pytest.mark.parametrize(("name", "value"), PUBLIC, ids=NAMES)
def test_a_public_name_says_what_it_is(name: str, value: Any) -> None:
    base = inspect.getmro(value)[1].__doc__ if inspect.isclass(value) else None

    assert value.__doc__, name
    assert value.__doc__ != base
    assert not value.__doc__.startswith(f"{name}("), "what a dataclass says of itself"


@pytest.mark.parametrize(("name", "value"), PUBLIC, ids=NAMES)
def test_a_public_method_says_what_it_does(name: str, value: Any) -> None:
    methods = [each for each in callables_of(value) if inspect.isfunction(each) and not each.__name__.startswith("_")]

    assert [each.__qualname__ for each in methods if not inspect.getdoc(each)] == [], name


@pytest.mark.parametrize(("name", "value"), PUBLIC, ids=NAMES)
def test_a_public_signature_reads_the_same_every_time(name: str, value: Any) -> None:
    shown = [str(inspect.signature(each)) for each in callables_of(value) if has_signature(each)]

    assert [signature for signature in shown if " object at 0x" in signature] == [], name


def has_signature(value: Any) -> bool:
    try:
        inspect.signature(value)
    except ValueError:  # an exception that takes what every exception takes
        return False
    return True
