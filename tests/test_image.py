"""The Dockerfile names only files, commands and stages that exist. scripts/image builds and runs it."""

import os
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from bridge.cli.main import cli
from bridge.settings import host_and_port
from bridge.telemetry import http
from bridge.telemetry.health import Health
from bridge.telemetry.prometheus import Metrics
from tests.dockerfile import ROOT, environment, exec_form, instructions, last, stages
from tools.servers.port import free_port

KNOWN = {"ARG", "FROM", "WORKDIR", "RUN", "COPY", "ENV", "USER", "STOPSIGNAL", "EXPOSE", "HEALTHCHECK", "CMD"}


def probe(address: str) -> int:
    """Returns the exit status of the image's health check."""
    command = exec_form(last("bridge", "HEALTHCHECK") or "")
    assert command[0] == "python3"
    # No proxy answers at this address, so the check must not use a proxy for our own address.
    proxies = {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
    settings = os.environ | proxies | {"BRIDGE_HTTP": address}
    return subprocess.run([sys.executable, *command[1:]], env=settings, check=False, capture_output=True).returncode


def test_every_instruction_is_known_and_every_base_is_a_stage_or_the_argument() -> None:
    assert {name for name, _ in instructions()} <= KNOWN
    names = list(stages())
    for number, stage in enumerate(stages().values()):
        assert stage.base in {"${BASE}", *names[:number]}


def test_default_target_is_the_bridge() -> None:
    assert list(stages())[-1] == "bridge"


def test_command_is_one_that_bridge_has() -> None:
    program, command = exec_form(last("bridge", "CMD") or "")
    assert program == "bridge"
    assert command in cli.commands


def test_any_other_command_can_be_given_in_its_place() -> None:
    assert last("bridge", "ENTRYPOINT") is None


@pytest.mark.parametrize("stage", ["bridge", "shop"])
def test_user_is_a_number_and_not_root(stage: str) -> None:
    user = last(stage, "USER") or ""
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    run = " ".join(stages()["runtime"].all("RUN"))
    assert f"--uid {user.partition(':')[0]} " in run


def test_port_of_the_health_check_is_the_exposed_one() -> None:
    host, port = host_and_port(environment("bridge")["BRIDGE_HTTP"])
    assert host == "0.0.0.0"
    assert last("bridge", "EXPOSE") == str(port)


def test_bridge_settings_in_the_image_are_settings_of_bridge_run() -> None:
    text = CliRunner().invoke(cli, ["run", "--help"]).output
    assert {name for name in environment("bridge") if name.startswith("BRIDGE_")} <= set(
        re.findall(r"BRIDGE_\w+", text)
    )


def test_health_check_passes_while_the_bridge_answers() -> None:
    with http.serve("127.0.0.1", 0, Health(), Metrics()) as port:
        assert probe(f"0.0.0.0:{port}") == 0


def test_health_check_fails_when_nobody_answers() -> None:
    assert probe(f"0.0.0.0:{free_port()}") == 1


def test_what_is_copied_exists_and_is_sent_to_the_builder() -> None:
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    sent = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied: set[str] = set()
    for stage in stages().values():
        for rest in stage.all("COPY"):
            if not rest.startswith("--from="):
                copied.update(rest.split()[:-1])
    assert all((ROOT / path).exists() for path in copied)
    assert "*" in ignored
    assert sent == copied


def test_other_stages_are_copied_from_by_name() -> None:
    for stage in stages().values():
        for rest in stage.all("COPY"):
            if found := re.match(r"--from=(\S+)", rest):
                assert found[1] in stages()


def test_every_extra_that_is_installed_exists() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    extras = re.findall(r"--extra (\S+)", (ROOT / "Dockerfile").read_text())
    assert "redis" in extras
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras)


def test_uv_is_the_one_of_setup() -> None:
    pins = [re.findall(r"uv==[\d.]+\d", (ROOT / path).read_text()) for path in ("Dockerfile", "scripts/setup")]
    assert pins[0] == pins[1] != []


def test_python_of_the_image_is_one_that_we_support() -> None:
    (base,) = [rest for name, rest in instructions() if name == "ARG"]
    version = base.removeprefix("BASE=python:").removesuffix("-slim")
    assert f"Programming Language :: Python :: {version}" in (ROOT / "pyproject.toml").read_text()
