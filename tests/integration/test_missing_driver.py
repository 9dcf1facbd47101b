"""An installation without the extra that PostgreSQL needs."""

import subprocess
import sys
from pathlib import Path

WITHOUT = "import sys; sys.modules['asyncpg'] = None; from daemon.cli import main; sys.exit(main())"


def test_postgres_without_its_driver_is_a_mistake_that_says_what_to_install(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('app.name = "shop"\nstorage.url = "postgresql://sagad:hush@127.0.0.1/sagad"\n')

    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, "--config", str(config), "check"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 78
    assert "pip install 'sagad[postgres]'" in done.stderr
    assert "hush" not in done.stderr
