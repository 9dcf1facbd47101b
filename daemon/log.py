"""Structured logs: one line per unit of work, with its ids and its outcome.

Loggers are bound once, when their module is imported; what they share (level, stream, format) is set later by
`configure_logging`. The ids of the work at hand live in one ContextVar that is read when a line is written. Until it is
configured, warnings and worse go to stderr.
"""

import json
import logging
import os
import sys
import traceback
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar, Token
from types import MappingProxyType, TracebackType
from typing import Any, TextIO, cast

import structlog
from pydantic_core import to_json
from structlog.typing import FilteringBoundLogger

from daemon.clock import Clock, SystemClock
from daemon.config import LogConfig
from daemon.redact import cleaned_fields, text_of

_TRACEBACK_MAX = 8 * 1024
_REASON_MAX = 2_000
# These tell at `info` what happens inside them; an application's log is about the application.
_CHATTY = ("apscheduler", "asyncio", "httpcore", "httpx", "svcs", "tzlocal", "uvicorn")
# These call it an error, several times a second, that a broker is away; the bus says so itself, once.
_ALARMED = ("aio_pika", "aiormq")

_context: ContextVar[Mapping[str, object]] = ContextVar("sagad_log", default=MappingProxyType({}))


class _Bound:
    __slots__ = ("_ids", "_token")

    def __init__(self, ids: Mapping[str, object]) -> None:
        self._ids = ids

    def __enter__(self) -> None:
        self._token: Token[Mapping[str, object]] = _context.set({**_context.get(), **self._ids})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _context.reset(self._token)


def bind(**ids: object) -> _Bound:
    """Return a context manager: in its block, and in the tasks started there, every line has these ids."""
    return _Bound(ids)


class _Output:
    """What all loggers share: it makes an entry of each call and writes it as one line."""

    def __init__(self) -> None:
        self.clock: Clock = SystemClock()
        self.stream: TextIO | None = None
        self.console: structlog.dev.ConsoleRenderer | None = None
        self.always: Mapping[str, object] = {}
        self.captured: list[dict[str, Any]] | None = None

    def put(self, level: str, logger: str, fields: dict[str, Any]) -> None:
        """Write one line; never raises, whatever is in it and whatever became of the stream."""
        try:
            entry = self._entry(level, logger, fields)
            if self.captured is not None:
                self.captured.append(entry)
                return
            line = self._line(entry)
        except Exception as error:  # noqa: BLE001 - a line that cannot be written must not end the work it tells of
            line = self._line({"event": "log_failed", "level": "error", "error": type(error).__name__})
        self._write(line)

    def _entry(self, level: str, logger: str, fields: dict[str, Any]) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "event": fields.pop("event", None),
            "timestamp": f"{self.clock.now().isoformat(timespec='microseconds')[:-6]}Z",
            "level": level,
            "logger": logger,
            **self.always,
            **_context.get(),
        }
        if error := fields.pop("exc_info", None):
            entry |= _error_fields(error)
        entry |= fields
        return cleaned_fields(entry)

    def _line(self, entry: dict[str, Any]) -> bytes:
        if self.console is None:
            try:
                return to_json(entry, bytes_mode="base64", fallback=text_of) + b"\n"
            except ValueError:  # half a surrogate pair, which is no Unicode, but which JSON can escape
                return f"{json.dumps(entry, default=text_of)}\n".encode()
        if "traceback" in entry:
            entry = {**entry, "exception": entry["traceback"]}
            del entry["traceback"]
        return f"{self.console(None, entry['level'], entry)}\n".encode(errors="backslashreplace")

    def _write(self, line: bytes) -> None:
        stream = self.stream or sys.stderr
        try:
            binary = getattr(stream, "buffer", None)
            if binary is None:
                stream.write(line.decode())
            else:
                binary.write(line)
            stream.flush()
        except BrokenPipeError:
            _silence(stream)
        except (OSError, ValueError):
            pass  # the disk is full or the stream is closed: there is nobody to tell


_output = _Output()


class _Sink:
    """The end of one logger: structlog calls the method of the level."""

    __slots__ = ("name",)

    def __init__(self, name: str = "application") -> None:
        self.name = name

    def debug(self) -> None:
        """Do nothing: the processor has written the line."""

    info = warning = warn = error = exception = critical = fatal = msg = log = debug


class _Logger(structlog.BoundLoggerBase):
    """The class of every logger; `set_level` gives it the methods of a level."""


def _put(sink: _Sink, method: str, fields: dict[str, Any]) -> tuple[tuple[()], dict[str, Any]]:
    _output.put(_LEVEL_OF.get(method, method), sink.name, fields)
    return (), {}


_LEVEL_OF = {"warn": "warning", "exception": "error", "fatal": "critical"}
_PROCESSORS = [_put]


def get_logger(name: str) -> FilteringBoundLogger:
    """Return the logger of that name, bound: keep it at the top of the module."""
    return cast("FilteringBoundLogger", _Logger(_Sink(name), cast("Any", _PROCESSORS), {}))


def set_level(level: str) -> None:
    """Write lines of `level` (`debug`, `info`, `warning`, `error`, `critical`) and above, from now on."""
    number = logging.getLevelNamesMapping()[level.upper()]
    for name, method in vars(structlog.make_filtering_bound_logger(number)).items():
        if not name.startswith("__"):
            setattr(_Logger, name, method)
    if _from_stdlib in logging.root.handlers:
        logging.root.setLevel(number)
        for name in _CHATTY:
            logging.getLogger(name).setLevel(max(number, logging.WARNING if number > logging.DEBUG else logging.INFO))
        for name in _ALARMED:
            logging.getLogger(name).setLevel(logging.CRITICAL if number > logging.DEBUG else logging.INFO)


class _FromStdlib(logging.Handler):
    """Brings the lines of the standard library's loggers into the same stream and format."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: dict[str, Any] = {"event": record.getMessage(), "exc_info": record.exc_info}
        except Exception:  # noqa: BLE001 - arguments that do not fit the message
            fields = {"event": str(record.msg)}
        _output.put(record.levelname.lower(), record.name, fields)


_from_stdlib = _FromStdlib()
set_level("warning")


def configure_logging(
    config: LogConfig, stream: TextIO | None = None, *, clock: Clock | None = None, **always: object
) -> None:
    """Write what is logged from now on to `stream`, the standard library's loggers included.

    Args:
        config: Level and format.
        stream: Where to; None is stdout.
        clock: What the timestamps are taken from.
        always: Fields of every line, such as `app`.
    """
    _output.stream = stream = stream or sys.stdout
    _output.clock = clock or SystemClock()
    _output.always = always
    is_terminal = stream.isatty()
    is_console = config.format == "console" or (config.format == "auto" and is_terminal)
    colors = is_terminal and "NO_COLOR" not in os.environ
    _output.console = structlog.dev.ConsoleRenderer(colors=colors) if is_console else None
    structlog.configure(
        processors=cast("Any", _PROCESSORS),
        wrapper_class=_Logger,
        context_class=dict,
        logger_factory=_Sink,
        cache_logger_on_first_use=True,
    )
    if _from_stdlib not in logging.root.handlers:
        logging.root.addHandler(_from_stdlib)
    logging.captureWarnings(capture=True)
    set_level(config.level)


def unconfigure_logging() -> None:
    """Undo `configure_logging`: warnings and worse go to stderr."""
    if _from_stdlib in logging.root.handlers:
        set_level("warning")
        for name in (*_CHATTY, *_ALARMED):
            logging.getLogger(name).setLevel(logging.NOTSET)
        logging.root.removeHandler(_from_stdlib)
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()
    _output.__init__()  # type: ignore[misc]  # what the loggers hold is this very object
    set_level("warning")


@contextmanager
def captured_log() -> Iterator[list[dict[str, Any]]]:
    """Keep the entries of every level that are logged inside the block in a list, instead of writing them."""
    level = _level()
    captured: list[dict[str, Any]] = []
    before, _output.captured = _output.captured, captured
    set_level("debug")
    try:
        yield captured
    finally:
        _output.captured = before
        set_level(level)


@asynccontextmanager
async def canonical_line(
    event: str, clock: Clock, *, log: FilteringBoundLogger, **ids: str | int
) -> AsyncIterator[dict[str, object]]:
    """Write one line at info about the work in the block: its ids, its outcome, `duration_ms`.

    Yields the line's own fields, to be added to. `outcome` becomes `ok`, `failed` with `error` and `reason`, or stays
    `cancelled`, because a cancelled task is not a success; one that the block sets itself is kept.
    """
    started_s = clock.monotonic_s()
    fields: dict[str, object] = {"outcome": "cancelled"}
    with _Bound(ids):
        try:
            yield fields
            if fields["outcome"] == "cancelled":
                fields["outcome"] = "ok"
        except Exception as error:
            fields |= {"outcome": "failed", "error": type(error).__name__, "reason": str(error)[:_REASON_MAX]}
            raise
        finally:
            log.info(event, duration_ms=round((clock.monotonic_s() - started_s) * 1_000, 1), **fields)


_log = get_logger(__name__)


def _level() -> str:
    return logging.getLevelName(_log.get_effective_level()).lower()


def _error_fields(error: Any) -> dict[str, Any]:
    if error is True:
        error = sys.exception()
    elif isinstance(error, tuple):
        error = error[1]
    if not isinstance(error, BaseException):
        return {}
    text = "".join(traceback.format_exception(error)).rstrip()
    if len(text) > _TRACEBACK_MAX:
        text = f"[...]\n{text[-_TRACEBACK_MAX:]}"
    return {"error": type(error).__name__, "reason": str(error)[:_REASON_MAX], "traceback": text}


def _silence(stream: TextIO) -> None:
    """Lead a stream whose reader has gone to nowhere, so that neither we nor the interpreter's end trip over it."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
