"""What the environment says of the configuration, and what of it may be shown."""

from pathlib import Path

import pytest

from daemon.config import Config, load_config, redacted
from tests.unit.configured import MINIMAL, mistakes, write


def test_the_environment_overrides_every_kind_of_key(tmp_path: Path) -> None:
    file = write(tmp_path, MINIMAL + "[jobs.run_weekly]\nenabled = true\n[options.hello-customer]\nSome-Key = 1\n")
    (tmp_path / "token").write_text("123\n", encoding="utf-8")
    environ = {
        "SAGAD_APP__NAME": "books",
        "SAGAD_BROKER__URL": "amqp://localhost/v",
        "SAGAD_HTTP__PORT": "8421",
        "SAGAD_HTTP__ALLOWED_HOSTS": '["shop.example"]',
        "SAGAD_HTTP__TOKEN_FILE": "token",
        "SAGAD_JOBS__RUN_ONCE_A_DAY__ENABLED": "false",
        "SAGAD_JOBS__RUN_WEEKLY__ENABLED": "false",
        "SAGAD_SUBSCRIBERS__HELLO_CUSTOMER__RETRY": "{ max_attempts = 3 }",
        "SAGAD_SUBSCRIBERS__HELLO_CUSTOMER__RETRY__JITTER": "0.5",
        "SAGAD_OPTIONS__HELLO_CUSTOMER__SOME_KEY": "two words",
        "SAGAD_OPTIONS__HELLO_CUSTOMER__CMS_URL": "http://cms.example",
        "SAGAD_TEST_AMQP_URL": "amqp://not.ours",
        "SAGAD_SERVICE_HOST": "10.0.0.1",
        "PATH": "/bin",
    }

    config = load_config(file, environ)

    assert (config.app.name, config.broker.url, config.http.port) == ("books", "amqp://localhost/v", 8421)
    assert (config.http.allowed_hosts, config.http.token) == (("shop.example",), "123")
    assert {name: job.enabled for name, job in config.jobs.items()} == {"run-once-a-day": False, "run_weekly": False}
    retry = config.subscribers["hello-customer"].retry
    assert retry is not None
    assert (retry.max_attempts, retry.jitter) == (3, 0.5)
    assert config.options == {"hello-customer": {"Some-Key": "two words", "cms_url": "http://cms.example"}}


def test_mistakes_in_the_environment_name_the_variable(tmp_path: Path) -> None:
    file = write(tmp_path, MINIMAL)
    environ = {
        "SAGAD_BROKER_URL": "amqp://localhost",
        "SAGAD_STORGE__URL": "sqlite:///x.db",
        "SAGAD_HTTP__PORT": "hunter2",
        "SAGAD_HTTP__HOTS": "x",
        "SAGAD_HTTP__TOKEN": "a",
        "SAGAD_HTTP__TOKEN_FILE": "a",
        "SAGAD_BROKER__URL_FILE": "nowhere",
        "SAGAD_LOG__LEVEL__X": "1",
    }

    found = mistakes(file, environ)

    assert found == {
        "SAGAD_BROKER_URL": "sets no key: two underscores stand between a table and its key. "
        "Did you mean 'SAGAD_BROKER__URL'?",
        "SAGAD_STORGE__URL": "sets no key: there is no table [storge]. Did you mean 'storage'?",
        "http.port": "must be a whole number. (Set by SAGAD_HTTP__PORT.)",
        "http.hots": "is no key of [http]. Did you mean 'host'? (Set by SAGAD_HTTP__HOTS.)",
        "SAGAD_HTTP__TOKEN_FILE": "sets http.token, and so does SAGAD_HTTP__TOKEN: keep one of them.",
        "SAGAD_BROKER__URL_FILE": f"names the file {tmp_path}/nowhere, which cannot be read: "
        "No such file or directory.",
        "log.level": "must be 'debug', 'info', 'warning', 'error' or 'critical'. (Set by SAGAD_LOG__LEVEL__X.)",
    }


def test_no_secret_is_in_a_message_or_a_repr(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        MINIMAL
        + """
        [broker]
        url = "amqp://shop:hunter2@host:port/"
        [storage]
        url = "mysql://shop:hunter2@host/db"
        [http]
        token = "hunter2 with spaces"
        """,
    )
    config = Config(
        app={"name": "shop"},
        broker={"url": "amqp://shop:hunter2@host/"},
        http={"token": "hunter2"},
        options={"sync": {"key": "hunter2"}},
    )

    found = mistakes(file)

    assert set(found) == {"broker.url", "storage.url", "http.token"}
    assert "hunter2" not in f"{found}{config!r}{config}{config.http}{config.broker}"
    assert "amqp://shop:***@host/" in repr(config)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("amqp://shop:hunter2@host/v", "amqp://shop:***@host/v"),
        ("lost postgresql://u:p@ss@h/db?sslpassword=x&a=b", "lost postgresql://u:***@h/db?sslpassword=***&a=b"),
        ("http://host:80/path?mail=a@b", "http://host:80/path?mail=a@b"),
        ("amqp://:secret@host", "amqp://:***@host"),
    ],
)
def test_redacted_hides_the_passwords_of_addresses(text: str, shown: str) -> None:
    result = redacted(text)

    assert result == shown
