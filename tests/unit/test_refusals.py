"""What application code must not do, type checkers refuse, and composing too where it can see it."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from daemon import CompositionError

ROOT = Path(__file__).parents[2]
REFUSED = ROOT / "tests/typing/refused"
FILES = sorted(REFUSED.glob("*.py"))
_MYPY_ERROR = re.compile(r"(?P<path>tests/typing/refused/[^:]+):(?P<line>\d+): error: ")

# For every file, the lines that a checker complains about.
Complaints = dict[str, set[int]]


@pytest.fixture(scope="module")
def mypy() -> Complaints:
    """What mypy says, with the repository's own configuration."""
    paths = [str(path.relative_to(ROOT)) for path in FILES]
    command = [sys.executable, "-m", "mypy", "--no-pretty", "--no-error-summary", "--no-color-output", *paths]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 1, said.stdout + said.stderr
    found = [(Path(hit["path"]).name, int(hit["line"])) for hit in _MYPY_ERROR.finditer(said.stdout)]
    return _by_file(found)


@pytest.fixture(scope="module")
def pyright(tmp_path_factory: pytest.TempPathFactory) -> Complaints:
    """What pyright says of copies of the files, with the repository's own configuration: there it excludes them."""
    project = tmp_path_factory.mktemp("pyright")
    shutil.copytree(REFUSED, project / "refused")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pyright"]
    settings |= {"include": ["refused"], "exclude": [], "venvPath": str(ROOT), "extraPaths": [str(ROOT)]}
    (project / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(project)]
    environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}  # it need not look for a newer one
    said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 1, said.stdout + said.stderr
    found = json.loads(said.stdout)["generalDiagnostics"]
    return _by_file([(Path(each["file"]).name, each["range"]["start"]["line"] + 1) for each in found])


def _by_file(found: list[tuple[str, int]]) -> Complaints:
    return {path.name: {line for name, line in found if name == path.name} for path in FILES}


def _marked(path: Path) -> set[int]:
    """Return the lines that have to be refused."""
    return {number for number, line in enumerate(path.read_text().splitlines(), 1) if line.endswith("# refused")}


def _refused_by(who: str) -> list[Path]:
    """Return the files whose first line names `who`."""
    first_lines = {path: path.read_text().partition("\n")[0] for path in FILES}
    return [path for path, line in first_lines.items() if who in line.removeprefix("# Refused by: ").split(", ")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_mistake_is_marked_and_says_who_refuses_it(path: Path) -> None:
    assert len(_marked(path)) == 1
    assert re.match(r"# Refused by: mypy(, pyright)?(, composing)?\n", path.read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_mypy_refuses_the_mistake_and_nothing_else(path: Path, mypy: Complaints) -> None:
    assert mypy[path.name] == _marked(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_pyright_refuses_the_mistake_if_it_sees_it_and_nothing_else(path: Path, pyright: Complaints) -> None:
    assert pyright[path.name] == (_marked(path) if path in _refused_by("pyright") else set())


@pytest.mark.parametrize("path", _refused_by("composing"), ids=lambda path: path.stem)
def test_composing_refuses_the_mistake_and_names_its_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None

    with pytest.raises(CompositionError) as refused:
        spec.loader.exec_module(module_from_spec(spec))

    (line,) = _marked(path)
    assert str(refused.value).startswith(f"tests/typing/refused/{path.name}:{line}: ")
