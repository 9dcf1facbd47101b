"""config.toml: its defaults, what the environment changes, and every mistake in it."""

from datetime import timedelta
from pathlib import Path

import pytest

from daemon.config import Config, check_names, is_loopback, load_config, restart_keys
from daemon.errors import ConfigurationError
from daemon.retry import Retry
from tests.unit.configured import MINIMAL, mistakes, write


def test_only_the_name_is_required_and_the_rest_has_the_documented_defaults(tmp_path: Path) -> None:
    file = write(tmp_path, MINIMAL)

    config = load_config(file, {})

    assert config.app.name == "shop"
    assert config.broker.model_dump() == {
        "url": "embedded://",
        "exchange": "events",
        "prefetch": 20,
        "heartbeat_s": 10,
        "consumer_timeout_s": 1800,
        "declare": "missing",
        "tls_ca": "",
        "tls_cert": "",
        "tls_key": "",
    }
    assert config.storage.model_dump() == {"url": "sqlite:///var/sagad.db", "retention_s": 2_592_000}
    assert config.http.model_dump() == {
        "enabled": True,
        "host": "127.0.0.1",
        "port": 8420,
        "token": "",
        "allowed_hosts": (),
    }
    assert config.log.model_dump() == {"level": "info", "format": "auto"}
    assert config.daemon.model_dump() == {
        "shutdown_grace_s": 30,
        "park_after_s": 30,
        "max_payload_bytes": 1_048_576,
    }


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    relative = load_config(write(tmp_path, MINIMAL), {})
    absolute = load_config(write(tmp_path, MINIMAL + '[storage]\nurl = "sqlite:////srv/shop.db"\n'), {})
    postgres = load_config(write(tmp_path, MINIMAL + '[storage]\nurl = "postgresql://u@h/shop"\n'), {})

    paths = [config.sqlite_path for config in (relative, absolute, postgres)]

    assert paths == [tmp_path / "var/sagad.db", Path("/srv/shop.db"), None]
    assert relative.path("ca.pem") == tmp_path / "ca.pem"


def test_a_configuration_can_be_made_in_code(tmp_path: Path) -> None:
    config = Config(app={"name": "shop"}, storage={"url": "sqlite:///x.db"}, folder=tmp_path)

    path = config.sqlite_path

    assert path == tmp_path / "x.db"
    with pytest.raises(ConfigurationError, match=r"^app\.nam: is no key of \[app\]\. Did you mean 'name'\?$"):
        Config(app={"nam": "shop", "name": "shop"})


def test_every_mistake_is_reported_at_once_with_its_key(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        [app]
        name = "My Shop"
        [broker]
        url = "ampq://localhost"
        prefech = 3
        heartbeat_s = "10"
        tls_key = "key.pem"
        [storge]
        url = ""
        [http]
        host = "0.0.0.0"
        port = 99999
        enabled = 1
        [log]
        level = "inof"
        [daemon]
        shutdown_grace_s = inf
        park_after_s = -1
        [jobs.nightly]
        schedule = "* * * * *"
        every_s = 3
        overlap = "skp"
        timezone = "Europe/Berln"
        [subscribers.hello-customer.retry]
        max_attempts = 0
        dely_s = 1
        """,
    )

    found = mistakes(file)

    assert found == {
        "app.name": "must be a name such as 'my-shop': letters, digits, '-' and '_', not 'My Shop'.",
        "broker.url": "must begin with amqp:// or amqps:// or embedded://. Did you mean 'amqp'?",
        "broker.prefech": "is no key of [broker]. Did you mean 'prefetch'?",
        "broker.heartbeat_s": "must be a number, not '10'.",
        "broker.tls_key": "must come together with tls_cert: a certificate and its key.",
        "storge": "is no table. Did you mean 'storage'?",
        "http.port": "must be 65535 or less, not 99999.",
        "http.enabled": "must be true or false, not 1.",
        "http.token": "is required when http.host is '0.0.0.0': others than this machine can reach it.",
        "log.level": "must be 'debug', 'info', 'warning', 'error' or 'critical', not 'inof'. Did you mean 'info'?",
        "daemon.shutdown_grace_s": "must be a finite number, not inf.",
        "daemon.park_after_s": "must be 0 or more, not -1.",
        "jobs.nightly.every_s": "must not stand beside schedule: keep one of them.",
        "jobs.nightly.overlap": "must be 'skip', 'queue' or 'allow', not 'skp'. Did you mean 'skip'?",
        "jobs.nightly.timezone": "must be a time zone such as 'Europe/Berlin', not 'Europe/Berln'. "
        "Did you mean 'Europe/Berlin'?",
        "subscribers.hello-customer.retry.max_attempts": "must be 1 or more, not 0.",
        "subscribers.hello-customer.retry.dely_s": "is no key of [subscribers.hello-customer.retry]. "
        "Did you mean 'delay_s'?",
    }


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        (b"[app\n", "config.toml:1:5", "is not TOML: Expected ']' at the end of a table declaration."),
        (b'[app]\nname = "\xff"', "config.toml", "is not UTF-8: byte 14 is none of its characters."),
        (b"", "app.name", 'is required, such as name = "shop".'),
        (b"[app]\n", "app.name", 'is required, such as name = "shop".'),
        (b'folder = "/"\n[app]\nname = "shop"\n', "folder", "is no table."),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes, where: str, what: str) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(content)

    found = mistakes(file)

    assert {key.removeprefix(f"{tmp_path}/"): text for key, text in found.items()} == {where: what}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"

    found = mistakes(file)

    assert found[str(file)].startswith("there is no such file. Name another with --config")


def test_a_file_for_tls_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "key.pem").touch()
    file = write(
        tmp_path,
        MINIMAL + '[broker]\nurl = "amqps://rabbit"\ntls_ca = "ca.pem"\ntls_cert = "none.pem"\ntls_key = "key.pem"\n',
    )

    found = mistakes(file)

    assert found == {
        "broker.tls_ca": f"names the file {tmp_path}/ca.pem, which is not there or may not be read.",
        "broker.tls_cert": f"names the file {tmp_path}/none.pem, which is not there or may not be read.",
    }


def test_a_heartbeat_may_have_a_fraction_as_every_time(tmp_path: Path) -> None:
    file = write(tmp_path, MINIMAL + "[broker]\nheartbeat_s = 2.5\n")

    config = load_config(file, {})

    assert config.broker.heartbeat_s == 2.5


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.8.0.1", True), ("::1", True), ("[::1]", True), ("0.0.0.0", False), ("shop.de", False)],
)
def test_loopback_hosts_are_those_of_this_machine_alone(host: str, expected: bool) -> None:  # noqa: FBT001
    result = is_loopback(host)

    assert result is expected


def test_a_disabled_api_needs_no_token(tmp_path: Path) -> None:
    file = write(tmp_path, MINIMAL + '[http]\nenabled = false\nhost = "0.0.0.0"\n')

    config = load_config(file, {})

    assert config.http.token == ""


@pytest.mark.parametrize(
    ("keys", "waits_s"),
    [({"delay_s": 3600}, (3600, 3600)), ({"max_delay_s": 5}, (5, 5)), ({"delay_s": 3, "max_delay_s": 4}, (3, 4))],
    ids=["delay", "max_delay", "both"],
)
def test_the_configured_wait_counts_and_the_declared_one_gives_way(
    keys: dict[str, int], waits_s: tuple[int, int]
) -> None:
    config = Config(app={"name": "shop"}, jobs={"a": {"retry": keys}})
    declared = Retry(max_attempts=3, delay=timedelta(seconds=10), max_delay=timedelta(seconds=20))

    changed = config.jobs["a"].retry_over(declared)

    assert (changed.delay.total_seconds(), changed.max_delay.total_seconds()) == waits_s


def test_a_longest_wait_below_the_first_one_is_a_mistake_of_its_table() -> None:
    with pytest.raises(ConfigurationError) as refused:
        Config(app={"name": "shop"}, jobs={"a": {"retry": {"delay_s": 10, "max_delay_s": 5}}})

    (problem,) = refused.value.problems
    assert problem.where == "jobs.a.retry"
    assert problem.what == "max_delay_s is the longest wait, and 5 is shorter than delay_s, 10."


def test_a_retry_override_changes_only_its_own_keys() -> None:
    config = Config(app={"name": "shop"}, subscribers={"a": {"retry": {"max_attempts": 7, "delay_s": 2}}, "b": {}})
    declared = Retry(max_attempts=5, delay=timedelta(seconds=1), backoff=4, jitter=0.2, never_on=(KeyError,))

    changed = config.subscribers["a"].retry_over(declared)

    assert changed == Retry(max_attempts=7, delay=timedelta(seconds=2), backoff=4, jitter=0.2, never_on=(KeyError,))
    assert config.subscribers["b"].retry_over(declared) is declared


def test_a_table_for_something_the_application_does_not_have_is_a_problem() -> None:
    config = Config(
        app={"name": "shop"},
        subscribers={"hello-customr": {}, "nightly": {}},
        jobs={"nightly": {}},
        options={"place-order": {}, "nowhere": {}},
    )

    problems = check_names(config, subscribers=["hello-customer"], jobs=["nightly"], workflows=["place-order"])

    assert [str(problem) for problem in problems] == [
        "subscribers.hello-customr: no subscriber has this name. Did you mean 'hello-customer'?",
        "subscribers.nightly: no subscriber has this name, but a job has: write [jobs.nightly].",
        "options.nowhere: no subscriber, job or workflow has this name.",
    ]


def test_keys_that_a_running_daemon_does_not_take_up_are_listed() -> None:
    old = Config(app={"name": "shop"}, log={"level": "info"})
    new = Config(app={"name": "shop"}, log={"level": "debug"}, http={"port": 1, "token": "a"}, jobs={"nightly": {}})

    keys = restart_keys(old, new)

    assert keys == ["http.port", "http.token"]
