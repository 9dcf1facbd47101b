"""What is wrong is said at the start, all of it, and nothing is started."""

from pathlib import Path

import httpx

from tests.acceptance.application import Application

NO_CONFIGURATION = 78


def mistakes(application: Application, *command: str) -> list[str]:
    done = application.sagad(*(command or ("run",)), status=NO_CONFIGURATION)
    assert not done.stdout
    return done.stderr.splitlines()


def test_every_mistake_of_the_configuration_is_one_line_with_its_key(shipped: Application) -> None:
    shipped.configure(
        {
            "broker.prefetch": "many",
            "broker.heartbeet_s": 10,
            "http.port": 99999,
            "subscribers.hello-custmer.enabled": False,
            "jobs.run-once-a-day.schedule": "61 * * * *",
            "options.update-prduct.cms_url": "http://cms",
        }
    )

    lines = mistakes(shipped)

    assert len(lines) == 6
    said = "\n".join(sorted(lines))
    assert "broker.heartbeet_s: " in said
    assert "Did you mean 'heartbeat_s'?" in said
    assert "broker.prefetch: must be a whole number" in said
    assert "http.port: " in said
    assert "jobs.run-once-a-day.schedule: " in said
    assert "Did you mean 'hello-customer'?" in said
    assert "Did you mean 'update-product'?" in said
    assert mistakes(shipped, "check") == lines
    assert not (shipped.folder / "var").exists()


def test_every_mistake_of_the_modules_is_one_line_with_its_place(shipped: Application) -> None:
    shipped.add("workflows/broken.py", "def broken(:\n")
    shipped.add("subscribers/missing.py", "from workflows.hello_world import helo_world\n")
    shipped.add("jobs/late.py", 'from daemon import job\n\n\n@job("* * *")\nasync def late() -> None: ...\n')
    shipped.add(
        "subscribers/again.py",
        "from daemon import subscriber\n\n\n"
        '@subscriber("a.b", id="hello-customer")\nasync def again(event: dict) -> None: ...\n',
    )

    lines = mistakes(shipped)

    assert len(lines) == 4
    said = "\n".join(lines)
    assert "workflows/broken.py:1: " in said
    assert "subscribers/missing.py:1: " in said
    assert "Did you mean 'hello_world'?" in said
    assert "jobs/late.py:" in said
    assert "'hello-customer' is defined at subscribers/" in said


def test_a_mistake_of_the_configuration_does_not_hide_one_of_the_modules(shipped: Application) -> None:
    shipped.configure({"broker.prefetch": "many"})
    shipped.add("workflows/broken.py", "def broken(:\n")

    assert len(mistakes(shipped)) == 2


def test_no_configuration_is_one_line(tmp_path: Path, shipped: Application) -> None:
    shipped.config_path.unlink()

    (line,) = mistakes(shipped)

    assert str(shipped.config_path) in line


def test_a_port_that_is_taken_is_one_sentence(shipped: Application, tmp_path: Path) -> None:
    with shipped.daemon() as first:
        shipped.configure({"http.port": first.port})

        refused = shipped.sagad("run", status=1)

    assert f"cannot listen on 127.0.0.1 port {first.port}" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_wrong_token_is_refused_everywhere_but_at_the_probes(shipped: Application) -> None:
    shipped.configure({"http.token": "s3cret"})
    strangers = [{}, *({"authorization": each} for each in ("Bearer wrong", "Basic s3cret", "s3cret"))]
    with shipped.daemon() as daemon:
        url = f"http://127.0.0.1:{daemon.port}"

        refused = [
            httpx.get(f"{url}{path}", headers=each)
            for path in ("/api/runs", "/api/openapi.json", "/nothing")
            for each in strangers
        ]
        probe = httpx.get(f"{url}/readyz")
        with daemon.api() as api:
            welcome = api.post("/api/events", json={"name": "customer.created", "data": {"id": "c1", "name": "Ada"}})
        daemon.wait_for("greeted")

    assert {each.status_code for each in refused} == {401}
    assert {each.headers["www-authenticate"] for each in refused} == {"Bearer"}
    assert probe.status_code == 200
    assert welcome.status_code == 202
    assert "s3cret" not in daemon.tail()


def test_other_web_pages_may_not_change_anything(shipped: Application) -> None:
    with shipped.daemon() as daemon, daemon.api() as api:
        path = "/api/workflows/failing-example/runs"

        other_page = api.post(path, headers={"origin": "http://evil.example"})
        other_name = api.get("/api/runs", headers={"host": "evil.example"})
        own_page = api.post(path, headers={"origin": f"http://127.0.0.1:{daemon.port}"})
        runs = api.get("/api/runs").json()["items"]

    assert (other_page.status_code, other_name.status_code, own_page.status_code) == (403, 403, 200)
    assert len(runs) == 1
