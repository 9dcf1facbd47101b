"""Imports the application's packages and collects what they define; finds every mistake before it raises.

They are imported from the folder of config.toml and from nowhere else: another package of the same name, wherever it
is on `sys.path`, is never taken for them.
"""

import importlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from daemon.container import ServiceFactory, duplicate_services
from daemon.errors import ConfigurationError, DaemonError, Problem, did_you_mean
from daemon.events.definition import RESERVED_IDS
from daemon.events.subscriber import Subscriber
from daemon.redact import redacted
from daemon.schedule.job import Job
from daemon.workflow.workflow import WorkflowBase

PACKAGES = ("workflows", "subscribers", "jobs")

_KINDS = (WorkflowBase, Subscriber, Job, ServiceFactory)
_LIBRARIES = (Path(sys.prefix), Path(__file__).parent)  # which may lie in the application's folder
_MISSING_NAME = re.compile(r"cannot import name '(\w+)'")


@dataclass(frozen=True, slots=True)
class Discovered:
    """What an application defines, in the order of its modules and of the definitions in them."""

    workflows: tuple[WorkflowBase, ...] = ()
    subscribers: tuple[Subscriber[...], ...] = ()
    jobs: tuple[Job[...], ...] = ()
    services: tuple[ServiceFactory[..., Any], ...] = ()


def discover(folder: Path) -> Discovered:
    """Import every module of `workflows/`, `subscribers/` and `jobs/` in `folder`, and return what they define.

    Modules and packages whose name begins with an underscore are left to be imported by the others. The folder goes
    first on `sys.path` and stays there.

    Raises:
        ConfigurationError: With every mistake: modules that cannot be imported, names that are taken or reserved, two
            services of one type, a package of the same name that was imported from elsewhere.
    """
    folder = folder.resolve()
    sys.path[:] = [str(folder), *(entry for entry in sys.path if entry != str(folder))]
    importlib.invalidate_caches()
    problems: list[Problem] = []
    modules = [module for name in PACKAGES for module in _imported(name, folder, problems)]
    values = _definitions(modules)
    found = Discovered(
        workflows=tuple(each for each in values if isinstance(each, WorkflowBase)),
        subscribers=tuple(each for each in values if isinstance(each, Subscriber)),
        jobs=tuple(each for each in values if isinstance(each, Job)),
        services=tuple(each for each in values if isinstance(each, ServiceFactory)),
    )
    problems += _name_problems(found, folder)
    for each in duplicate_services(found.services):
        problems.append(Problem(_relative(each.where, folder), each.what.replace(f"{folder}/", "")))
    if problems:
        raise ConfigurationError(list(dict.fromkeys(problems)))
    return found


def _imported(package: str, folder: Path, problems: list[Problem]) -> Iterator[ModuleType]:
    """Import a package's modules, its own first; what goes wrong is added to `problems`."""
    place = folder / package
    if not place.is_dir():
        if (file := place.with_suffix(".py")).is_file():
            problems.append(
                Problem(file.name, f"is one module: make it a package, and this file {package}/{file.name}.")
            )
        return
    if (other := elsewhere(package, place)) is not None:
        what = f"is imported from {other} already: start the application in a process that loaded no other {package}."
        problems.append(Problem(package, what))
        return
    if package not in sys.modules and not (place / "__init__.py").is_file():
        # Python would prefer a package of this name that has an __init__.py, wherever it is.
        spec = ModuleSpec(package, None, is_package=True)
        spec.submodule_search_locations = [str(place)]
        sys.modules[package] = module_from_spec(spec)
    for file in _files(place):
        parts = file.relative_to(folder).with_suffix("").parts
        where = str(file.relative_to(folder))
        if not all(part.isidentifier() for part in parts):
            renamed = re.sub(r"\W", "_", file.stem)
            problems.append(Problem(where, f"cannot be imported by this name: rename it, such as {renamed}.py."))
            continue
        try:
            yield importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a module does, it is reported
            problems.append(_problem(error, where, folder))


def discover_beside(folder: Path) -> Discovered:
    """Return what the application beside a configuration defines, for a program that is not its daemon.

    Such a program may have no application there, or packages of its own that happen to have these names: then nothing
    is found, and nothing is imported.

    Raises:
        ConfigurationError: As `discover` does.
    """
    folder = folder.resolve()
    there = [name for name in PACKAGES if (folder / name).is_dir()]
    if not there or any(elsewhere(name, folder / name) is not None for name in there):
        return Discovered()
    return discover(folder)


def elsewhere(package: str, place: Path) -> str | None:
    """Return where `package` is imported from, if it is, and not from `place`."""
    module = sys.modules.get(package)
    if module is None:
        return None
    locations = [*getattr(module, "__path__", ())] or [str(getattr(module, "__file__", "elsewhere"))]
    # A namespace package has a folder as often as that is on sys.path.
    return None if {Path(each).resolve() for each in locations} == {place} else ", ".join(locations)


def _files(place: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith(("_", ".")))
        if "__init__.py" in files:
            yield Path(parent, "__init__.py")
        for name in sorted(files):
            if name.endswith(".py") and not name.startswith(("_", ".")):
                yield Path(parent, name)


def _definitions(modules: list[ModuleType]) -> list[Any]:
    """Return each workflow, subscriber, job and service once; not those that come from outside the modules."""
    values: dict[int, Any] = {}
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, _KINDS) and not _is_foreign(value, module, modules):
                values[id(value)] = value
    return list(values.values())


def _is_foreign(value: Any, module: ModuleType, modules: list[ModuleType]) -> bool:
    """Tell whether `value` was imported from a module that is not the application's to discover.

    A function of another module may also have made it here: then that module does not have it.
    """
    function = getattr(value, "fn", None) or getattr(value, "handler", None) or getattr(value, "function", None)
    home = sys.modules.get(getattr(function, "__module__", ""), module)
    return home not in modules and any(each is value for each in vars(home).values())


def _name_problems(found: Discovered, folder: Path) -> Iterator[Problem]:
    named: list[tuple[str, str, str]] = [
        *(("workflow", each.name, each.where) for each in found.workflows),
        *(("subscriber", each.id, each.where) for each in found.subscribers),
        *(("job", each.name, each.where) for each in found.jobs),
        *_own_job_names(found.workflows),
    ]
    first: dict[str, tuple[str, str]] = {}
    for kind, name, where in named:
        place = _relative(where, folder)
        if kind == "subscriber" and name in RESERVED_IDS:
            yield Problem(place, f"the subscriber id {name!r} is reserved for a queue of sagad's own: take another.")
        other_kind, other_place = first.get(name, ("", ""))
        if not other_kind:
            first[name] = (kind, place)
        elif other_kind != kind:
            yield Problem(
                place,
                f"the {kind} {name!r} has the name of the {other_kind} at {other_place}: workflows, subscribers and "
                "jobs share their names, by which [options] knows them. Rename one of them.",
            )
        elif kind != "workflow" or place != other_place:
            yield Problem(place, f"the {kind} {name!r} is defined at {other_place} already: rename one of them.")


def _own_job_names(workflows: Iterable[WorkflowBase]) -> Iterator[tuple[str, str, str]]:
    """Iterate over the jobs that start workflows under another name than the workflow's."""
    for each in workflows:
        if each.schedule is not None and each.schedule.name not in (None, each.name):
            yield "job", str(each.schedule.name), each.where


def _problem(error: BaseException, module: str, folder: Path) -> Problem:
    """Return what went wrong while a module was imported, at the innermost line of the application."""
    where = _frame(error.__traceback__, folder) or module
    text = redacted(" ".join(str(error).split()))
    if isinstance(error, SyntaxError) and error.filename is not None:
        where = _relative(f"{error.filename}:{error.lineno}", folder)
        text = error.msg
    if isinstance(error, DaemonError):
        return Problem(where, text)
    hint = ""
    if isinstance(error, ModuleNotFoundError):
        hint = f". Install it in the environment of sagad, {sys.prefix}."
    elif isinstance(error, ImportError) and (missing := _MISSING_NAME.search(text)):
        hint = did_you_mean(missing[1], vars(sys.modules.get(error.name or "", sys)))
        text = f"cannot import name {missing[1]!r} from {error.name!r}."
    return Problem(where, f"{type(error).__name__}: {text}{hint}" if text else type(error).__name__)


def _frame(traceback: TracebackType | None, folder: Path) -> str | None:
    found = None
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if Path(file).is_relative_to(folder) and not any(Path(file).is_relative_to(each) for each in _LIBRARIES):
            found = _relative(f"{file}:{traceback.tb_lineno}", folder)
        traceback = traceback.tb_next
    return found


def _relative(where: str, folder: Path) -> str:
    """Return `file:line` with the file as seen from the application's folder."""
    file, _, line = where.rpartition(":")
    path = Path(file).absolute()
    return f"{path.relative_to(folder)}:{line}" if path.is_relative_to(folder) else where
