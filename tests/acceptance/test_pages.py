"""What the pages are as texts: their links lead somewhere, and their code is what a type checker accepts."""

import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

import daemon
import daemon.testing
from tests.acceptance.application import SHIPPED, Application
from tests.acceptance.pages import PAGES, blocks_of

TEXTS = [*PAGES, SHIPPED / "CONTRIBUTING.md", SHIPPED / "CHANGELOG.md", SHIPPED / "benchmarks" / "README.md"]
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def name(page: Path) -> str:
    return str(page.relative_to(SHIPPED))


def prose(page: Path) -> str:
    return _FENCED.sub("", page.read_text())


def links(page: Path) -> list[str]:
    return _LINK.findall(_INLINE.sub("", prose(page)))


def anchors(page: Path) -> set[str]:
    """Return what links may name of a page: its headings, as GitHub writes them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in _HEADING.findall(prose(page))
    }


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_a_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {SHIPPED / link for link in links(SHIPPED / "README.md")}

    assert [name(page) for page in PAGES[1:] if page not in linked] == []


def test_a_file_that_is_to_be_saved_is_named_above_it() -> None:
    unnamed = []
    for page in PAGES:
        above = ""
        for line in page.read_text().splitlines():
            fence = re.fullmatch(r"```\w+ (\S+)", line)
            if fence is not None and f"`{fence[1]}`" not in above:
                unnamed.append(f"{name(page)}: {fence[1]}")
            above = line or above

    assert unnamed == []


def test_no_two_pages_save_a_file_under_one_name() -> None:
    saved = Counter(block.file for page in PAGES for block in blocks_of(page) if block.file)

    assert [file for file, times in saved.items() if times > 1] == []


MYPY = (
    *("mypy", "--config-file", str(SHIPPED / "pyproject.toml")),
    *("--cache-dir", str(SHIPPED / ".mypy_cache" / "pages"), "."),
)
PYRIGHT = {
    "extraPaths": [str(SHIPPED)],
    "pythonVersion": "3.11",
    "typeCheckingMode": "strict",
    "reportDeprecated": False,  # how others' decorators want to be used from the next Python on
}


@pytest.mark.parametrize("checker", [MYPY, ("pyright", "--pythonpath", sys.executable)], ids=("mypy", "pyright"))
def test_the_code_that_is_shown_is_what_a_type_checker_accepts(checker: tuple[str, ...], tmp_path: Path) -> None:
    application = Application(tmp_path)
    for block in (block for page in PAGES for block in blocks_of(page)):
        if block.language == "python" and block.file:
            application.add(block.file, block.text)
    application.add("pyrightconfig.json", json.dumps(PYRIGHT))

    checked = subprocess.run(
        [sys.executable, "-m", *checker],
        cwd=tmp_path,
        env={"MYPYPATH": f"{tmp_path}:{SHIPPED}", "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1", "HOME": str(Path.home())},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_reference_names_all_that_is_public() -> None:
    page = (SHIPPED / "docs" / "reference.md").read_text()

    public = {*daemon.__all__, *daemon.testing.__all__}
    assert public - set(re.findall(r"`(\w+)`", page)) == set()


def test_the_layers_that_are_described_are_those_that_are_enforced() -> None:
    contracts = tomllib.loads((SHIPPED / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    section = (SHIPPED / "docs" / "ARCHITECTURE.md").read_text().partition("## Layers\n")[2].partition("\n## ")[0]

    described = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in section.splitlines() if row.startswith("| `")]
    assert [sorted(names) for names in described] == [sorted(each.split(" | ")) for each in contracts[0]["layers"]]
