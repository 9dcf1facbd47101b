"""A run as text."""

import json
from datetime import datetime
from typing import Any

from daemon.cli.output import printable, show, show_fields, show_table, show_title


def show_run(run: dict[str, Any]) -> None:
    """Print a run, as `WorkflowRun.to_json` gives it: its steps, what failed and what was undone."""
    trigger = run["trigger"]
    show_fields(
        {
            "run": run["run_id"],
            "workflow": run["workflow"],
            "status": run["status"],
            "attempt": run["attempt"],
            "trigger": " ".join(trigger[part] for part in ("kind", "name", "id") if trigger.get(part)),
            "started (UTC)": _moment_of(run["created_at"]),
            "changed (UTC)": _moment_of(run["updated_at"]),
            "waits for": run["waiting_for"],
            "input": _plain(run["input"]),
            "result": _plain(run["result"]),
            "undone": run["compensated"],
        }
    )
    if run["steps"]:
        show("")
        show_table(
            ("step", "state", "attempts", "started (UTC)", "ended (UTC)", "input", "output"),
            [
                (
                    step["name"],
                    step["state"],
                    step["attempts"],
                    _moment_of(step["started_at"]),
                    _moment_of(step["ended_at"]),
                    _plain(step["input"]),
                    _plain(step["output"]),
                )
                for step in run["steps"].values()
            ],
        )
    for error in run["errors"]:
        for number, attempt in enumerate(error["attempts"], 1):
            show("")
            show_title(printable(f"{error['step']} ({error['phase']}), attempt {number}, {attempt['time']}"))
            show(printable(attempt["traceback"] or f"{attempt['type']}: {attempt['message']}", keep="\n\t").rstrip())


def _moment_of(iso: str | None) -> datetime | None:
    return None if iso is None else datetime.fromisoformat(iso)


def _plain(value: object) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)
