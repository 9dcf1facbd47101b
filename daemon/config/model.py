"""The tables of config.toml; what they hold by default is what the manual shows."""

import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    Strict,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from daemon.config.report import problems_of
from daemon.config.url import is_loopback, url_mistake
from daemon.errors import ConfigurationError, did_you_mean
from daemon.redact import redacted
from daemon.retry import Retry

_CENTURY_S = 100 * 365 * 86_400
_SQLITE = "sqlite:///"
_SECRETS = frozenset({"url", "token"})

Seconds = Annotated[float, Field(ge=0, le=_CENTURY_S)]
PositiveSeconds = Annotated[float, Field(gt=0, le=_CENTURY_S)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _mistake(what: str) -> PydanticCustomError:
    return PydanticCustomError("mistake", "{what}", {"what": what})


class _Table(BaseModel):
    """One table: frozen, with no key that it does not know, and without secrets in its `repr`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            if name in _SECRETS and isinstance(value, str):
                yield name, redacted(value) if name == "url" else "***" if value else ""
            else:
                yield name, value


class AppConfig(_Table):
    """`[app]`: the name that prefixes queues, is the source of events and owns rows in the store."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60)]


class BrokerConfig(_Table):
    """`[broker]`: what carries events."""

    url: str = "embedded://"
    exchange: Annotated[str, Field(min_length=1, max_length=127)] = "events"
    prefetch: Annotated[int, Field(ge=1, le=65_535)] = 20
    heartbeat_s: Annotated[float, Field(ge=1, le=65_535)] = 10
    consumer_timeout_s: PositiveSeconds = 1800
    declare: Literal["missing", "never"] = "missing"
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: Annotated[str, Field(validate_default=True)] = ""

    @property
    def embedded(self) -> bool:
        """Whether events are carried by the store instead of a broker."""
        return self.url.startswith("embedded:")

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if what := url_mistake(url, ("embedded", "amqp", "amqps"), needs_host=not url.startswith("embedded:")):
            raise _mistake(what)
        if url.startswith("embedded:") and url != "embedded://":
            raise _mistake("must have nothing after embedded://: its queues are in storage.url.")
        return url

    @field_validator("tls_key")
    @classmethod
    def _check_pair(cls, key: str, info: ValidationInfo) -> str:
        if bool(key) != bool(info.data.get("tls_cert", key)):
            raise _mistake("must come together with tls_cert: a certificate and its key.")
        return key


class StorageConfig(_Table):
    """`[storage]`: what keeps runs, checkpoints and the embedded queues."""

    url: str = f"{_SQLITE}var/sagad.db"
    retention_s: Seconds = 2_592_000

    @property
    def is_absolute(self) -> bool:
        """Whether the address means the same from every folder."""
        return not self.url.startswith(_SQLITE) or self.url.startswith(f"{_SQLITE}/")

    def sqlite_path(self, folder: Path) -> Path | None:
        """Return the database file, with a relative one resolved against `folder`; None on PostgreSQL."""
        if not self.url.startswith(_SQLITE):
            return None
        return Path(os.path.abspath(folder / self.url.removeprefix(_SQLITE)))  # noqa: PTH100 - resolve() would follow links

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if what := url_mistake(url, ("sqlite", "postgresql"), needs_host=False):
            raise _mistake(what)
        if url.startswith("sqlite:") and (not url.startswith(_SQLITE) or url.removeprefix(_SQLITE) in ("", ":memory:")):
            what = "must name a file: sqlite:///relative/to/config.db or sqlite:////absolute.db."
            raise _mistake(what)
        return url


class HttpConfig(_Table):
    """`[http]`: the API; port 0 lets the system choose one."""

    enabled: bool = True
    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    port: Port = 8420
    token: Annotated[str, Field(pattern=r"^[\x21-\x7e]*$", validate_default=True)] = ""
    allowed_hosts: Annotated[tuple[str, ...], Strict(strict=False)] = ()

    @field_validator("token")
    @classmethod
    def _check_token(cls, token: str, info: ValidationInfo) -> str:
        host = info.data.get("host", "localhost")
        if not token and info.data.get("enabled", True) and not is_loopback(host):
            raise _mistake(f"is required when http.host is {host!r}: others than this machine can reach it.")
        return token


class LogConfig(_Table):
    """`[log]`; format `auto` is `console` on a terminal and `json` elsewhere."""

    level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class DaemonConfig(_Table):
    """`[daemon]`: the process itself."""

    shutdown_grace_s: Seconds = 30
    park_after_s: Seconds = 30
    max_payload_bytes: Annotated[int, Field(ge=1, le=512 * 1024 * 1024)] = 1_048_576


class RetryOverride(_Table):
    """The keys of a retry policy that config.toml changes; None leaves what the decorator says."""

    max_attempts: Annotated[int, Field(ge=1)] | None = None
    delay_s: Seconds | None = None
    backoff: Annotated[float, Field(ge=1, le=1e6)] | None = None
    max_delay_s: Seconds | None = None
    jitter: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _longest_is_longest(self) -> Self:
        if self.delay_s is not None and self.max_delay_s is not None and self.max_delay_s < self.delay_s:
            msg = (
                f"max_delay_s is the longest wait, and {self.max_delay_s:g} is shorter than delay_s, {self.delay_s:g}."
            )
            raise PydanticCustomError("shorter_than_delay", "{what}", {"what": msg})
        return self

    def over(self, policy: Retry) -> Retry:
        """Return `policy` with the keys that are set here.

        The other one of `delay` and `max_delay` gives way where only one of them is set, and would contradict it.
        """
        changes: dict[str, Any] = {}
        for key, value in self.model_dump(exclude_none=True).items():
            changes[key.removesuffix("_s")] = timedelta(seconds=value) if key.endswith("_s") else value
        delay, longest = changes.get("delay", policy.delay), changes.get("max_delay", policy.max_delay)
        if longest < delay:
            changes |= {"max_delay": delay} if "delay" in changes else {"delay": longest}
        return replace(policy, **changes)


class _Override(_Table):
    enabled: bool = True
    timeout_s: PositiveSeconds | None = None
    retry: RetryOverride | None = None

    def retry_over(self, policy: Retry) -> Retry:
        """Return `policy` with what `retry` changes."""
        return policy if self.retry is None else self.retry.over(policy)


class SubscriberOverride(_Override):
    """`[subscribers.<id>]`; None leaves what the decorator says."""

    concurrency: Annotated[int, Field(ge=1, le=65_535)] | None = None


class JobOverride(_Override):
    """`[jobs.<name>]`; None leaves what the decorator says."""

    schedule: Annotated[str, Field(min_length=1)] | None = None
    every_s: Annotated[float, Field(ge=0.001, le=_CENTURY_S)] | None = None
    timezone: str | None = None
    overlap: Literal["skip", "queue", "allow"] | None = None
    catch_up: Literal["latest", "all", "none"] | None = None
    catch_up_window_s: Seconds | None = None
    jitter_s: Seconds | None = None
    max_runs: Annotated[int, Field(ge=1)] | None = None

    @field_validator("timezone")
    @classmethod
    def _check_timezone(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (ValueError, OSError, LookupError):
                guess = did_you_mean(name, available_timezones())
                raise _mistake(f"must be a time zone such as 'Europe/Berlin', not {name!r}.{guess}") from None
        return name

    @field_validator("every_s")
    @classmethod
    def _check_schedule(cls, every_s: float | None, info: ValidationInfo) -> float | None:
        if every_s is not None and info.data.get("schedule") is not None:
            raise _mistake("must not stand beside schedule: keep one of them.")
        return every_s


class Config(_Table):
    """The whole configuration. Tables may be given as dicts: `Config(app={"name": "shop"})`.

    Attributes:
        folder: What relative paths are relative to: the folder of config.toml, else the current one.

    Raises:
        ConfigurationError: With every mistake.
    """

    app: AppConfig
    broker: BrokerConfig = BrokerConfig()
    storage: StorageConfig = StorageConfig()
    http: HttpConfig = HttpConfig()
    log: LogConfig = LogConfig()
    daemon: DaemonConfig = DaemonConfig()
    subscribers: dict[Name, SubscriberOverride] = Field(default_factory=dict)
    jobs: dict[Name, JobOverride] = Field(default_factory=dict)
    options: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    folder: Annotated[Path, Strict(strict=False)] = Field(default_factory=Path.cwd)

    if TYPE_CHECKING:

        def __init__(self, **tables: Any) -> None: ...

    @model_validator(mode="wrap")
    @classmethod
    def _collect(cls, data: Any, validate: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        # The context says which environment variable set a key.
        try:
            return validate(data)
        except ValidationError as error:
            raise ConfigurationError(problems_of(error, cls, info.context)) from None

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, (dict.fromkeys(value, "***") if name == "options" else value)

    @property
    def sqlite_path(self) -> Path | None:
        """The database file, or None on PostgreSQL."""
        return self.storage.sqlite_path(self.folder)

    def path(self, name: str) -> Path:
        """Return a path of the configuration, with a relative one resolved against `folder`."""
        return self.folder / name
