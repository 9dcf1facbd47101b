"""What commands print where it is no terminal."""

from datetime import UTC, datetime

import pytest

from daemon.cli.output import note, printable, show_fields, show_json, show_table


def test_a_table_is_aligned_text_with_a_header(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("run", "state", "error"), [("order-1", "completed", None), ("o2", "failed", "OSError: no")])

    assert capsys.readouterr().out == (
        "RUN      STATE      ERROR\n"
        "order-1  completed  -\n"
        "o2       failed     OSError: no\n"
    )  # fmt: skip


def test_a_cell_is_one_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("a", "b"), [("two\nlines", datetime(2026, 1, 31, 8, tzinfo=UTC)), (["x", "y"], True)])

    assert capsys.readouterr().out == (
        "A           B\n"
        "two\\nlines  2026-01-31 08:00:00\n"
        "x, y        yes\n"
    )  # fmt: skip


def test_what_would_steer_a_terminal_is_shown_instead(capsys: pytest.CaptureFixture[str]) -> None:
    show_fields({"error": "\x1b[2Jgone\x07", "half": "\ud800", "name": "Zoë"})

    assert capsys.readouterr().out == "error  \\x1b[2Jgone\\x07\nhalf   \\ud800\nname   Zoë\n"


def test_line_ends_stay_where_they_are_wanted() -> None:
    assert printable("a\nb\tc\rd", keep="\n\t") == "a\nb\tc\\rd"


def test_json_is_one_document_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"name": "Zoë", "items": [1, None]})

    assert capsys.readouterr().out == '{"name": "Zoë", "items": [1, null]}\n'


def test_what_is_said_has_no_password_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    note("The broker amqp://shop:geheim@host/ does not answer.")

    assert capsys.readouterr().err == "The broker amqp://shop:***@host/ does not answer.\n"
