"""Frozen models of config.toml, and how they are read from the file and the environment."""

from daemon.config.load import load_config, read_config
from daemon.config.model import (
    AppConfig,
    BrokerConfig,
    Config,
    DaemonConfig,
    HttpConfig,
    JobOverride,
    LogConfig,
    RetryOverride,
    StorageConfig,
    SubscriberOverride,
)
from daemon.config.names import check_names, restart_keys
from daemon.config.url import is_loopback
from daemon.redact import redacted

__all__ = [
    "AppConfig",
    "BrokerConfig",
    "Config",
    "DaemonConfig",
    "HttpConfig",
    "JobOverride",
    "LogConfig",
    "RetryOverride",
    "StorageConfig",
    "SubscriberOverride",
    "check_names",
    "is_loopback",
    "load_config",
    "read_config",
    "redacted",
    "restart_keys",
]
