"""A config.toml, and what is wrong with it."""

from pathlib import Path

import pytest

from daemon.config import load_config
from daemon.errors import ConfigurationError

MINIMAL = '[app]\nname = "shop"\n'


def write(folder: Path, text: str) -> Path:
    """Write one."""
    file = folder / "config.toml"
    file.write_text(text, encoding="utf-8")
    return file


def mistakes(file: Path, environ: dict[str, str] | None = None) -> dict[str, str]:
    """Return what is wrong, by the key or the variable."""
    with pytest.raises(ConfigurationError) as caught:
        load_config(file, environ or {})
    return {problem.where: problem.what for problem in caught.value.problems}
