"""compose.yaml is well-formed, and every path, command, flag and variable in it exists."""

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from celery.bin.celery import celery
from click import Command, Context, Group
from click.testing import CliRunner

from bridge.cli.duration import parsed
from bridge.cli.main import cli
from tests.dockerfile import ROOT, exec_form, last, stages

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
SHOP = ROOT / "examples" / "shop"

# The keys of the Compose specification that we use. Otherwise only Docker would find a misspelt key.
TOP = {"name", "services", "volumes"}
OF_A_SERVICE = {
    *("build", "command", "depends_on", "environment", "healthcheck", "hostname", "image", "ports", "restart"),
    *("stop_grace_period", "volumes"),
}
OF_A_HEALTH_CHECK = {"test", "interval", "timeout", "start_period", "retries"}

PARSE = """
import json, sys, django
from django.core.management import get_commands, load_command_class
django.setup()
name, *arguments = json.loads(sys.argv[1])
load_command_class(get_commands()[name], name).create_parser("manage.py", name).parse_args(arguments)
"""


def words(service: str) -> list[str]:
    """Returns the words of the service's command: its own, or the image's."""
    given: list[str] | None = SERVICES[service].get("command")
    return given or exec_form(last(SERVICES[service]["build"]["target"], "CMD") or "")


def has_health_check(service: str) -> bool:
    stage = SERVICES[service].get("build", {}).get("target")
    return "healthcheck" in SERVICES[service] or (stage is not None and last(stage, "HEALTHCHECK") is not None)


def seconds(duration: str) -> float:
    assert re.fullmatch(r"\d+s", duration)
    return float(duration[:-1])


def celery_parses(arguments: list[str]) -> None:
    """Parses only the words of the command, because running it would need the app and a broker."""
    command: Command = celery
    while isinstance(command, Group):
        _, (name, *arguments), _ = command.make_parser(Context(command)).parse_args(list(arguments))
        command = command.commands[name]
    command.make_parser(Context(command)).parse_args(arguments)


def test_services_are_the_ones_of_the_story() -> None:
    assert set(SERVICES) == {"postgres", "rabbitmq", "migrate", "bridge", "worker", "web"}


def test_every_key_is_one_of_composes() -> None:
    assert {key for key in COMPOSE if not key.startswith("x-")} <= TOP
    for service in SERVICES.values():
        assert set(service) <= OF_A_SERVICE
        assert set(service.get("healthcheck", {})) <= OF_A_HEALTH_CHECK


@pytest.mark.parametrize("service", OURS)
def test_what_is_built_has_its_folder_and_its_stage(service: str) -> None:
    build = SERVICES[service]["build"]
    assert (ROOT / build["context"] / "Dockerfile").exists()
    assert build["target"] in stages()


def test_images_of_others_have_a_version() -> None:
    for name in set(SERVICES) - set(OURS):
        assert re.fullmatch(r"[a-z]+:\d[\w.-]*", SERVICES[name]["image"])


def test_every_dependency_can_come_true() -> None:
    for service in SERVICES.values():
        for name, dependency in service.get("depends_on", {}).items():
            if dependency["condition"] == "service_healthy":
                assert has_health_check(name)
            else:
                assert dependency["condition"] == "service_completed_successfully"
                assert SERVICES[name]["restart"] == "no"


def test_every_service_that_stays_has_a_health_check() -> None:
    for name, service in SERVICES.items():
        assert has_health_check(name) == (service["restart"] != "no")


def test_health_checks_have_a_command_and_an_end() -> None:
    for service in SERVICES.values():
        if check := service.get("healthcheck"):
            assert check["test"][0] in {"CMD", "CMD-SHELL"}
            assert seconds(check["interval"]) > 0
            assert seconds(check["timeout"]) > 0
            assert check["retries"] > 0


def test_volumes_are_declared() -> None:
    used = {mount.partition(":")[0] for service in SERVICES.values() for mount in service.get("volumes", ())}
    assert used == set(COMPOSE["volumes"])


def test_ports_are_open_to_this_machine_only_and_are_the_images() -> None:
    for service in SERVICES.values():
        for port in service.get("ports", ()):
            host, _, inner = port.split(":")
            assert host == "127.0.0.1"
            assert last(service["build"]["target"], "EXPOSE") == inner


def test_every_variable_has_a_default_and_no_secret_looks_real() -> None:
    text = (ROOT / "compose.yaml").read_text()
    for default in re.findall(r"\$\{\w+(:-[^}]*)?\}", text):
        assert default in {":-", ":-development-only"}
    assert set(re.findall(r"://\w+:([^@\s]*)@", text)) <= {
        "${POSTGRES_PASSWORD:-development-only}",
        "${RABBITMQ_PASSWORD:-development-only}",
    }


def test_environment_of_the_bridge_is_what_bridge_run_reads() -> None:
    variables = SERVICES["bridge"]["environment"]
    program, command = words("bridge")
    assert program == "bridge"
    assert set(variables) <= set(re.findall(r"\bBRIDGE_[A-Z_]+\b", CliRunner().invoke(cli, [command, "--help"]).output))


@pytest.mark.parametrize("service", sorted(set(OURS) - {"bridge"}))
def test_environment_of_the_shop_is_what_its_settings_read(service: str) -> None:
    settings = (SHOP / "shop" / "settings.py").read_text()
    for name in SERVICES[service]["environment"]:
        assert f'os.environ.get("{name}"' in settings


def test_bridge_has_longer_to_stop_than_a_batch_in_flight_gets() -> None:
    (grace,) = [parameter.default for parameter in cli.commands["run"].params if parameter.name == "grace"]
    assert isinstance(grace, str)
    within = parsed(grace)
    assert within is not None
    assert seconds(SERVICES["bridge"]["stop_grace_period"]) > within


@pytest.mark.parametrize("service", ["migrate", "web"])
def test_commands_of_manage_py_exist_with_their_flags(service: str) -> None:
    python, script, *command = words(service)
    assert python == "python3"
    assert (SHOP / script).exists()
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "shop.settings", "PYTHONPATH": f"{SHOP}:{ROOT}"}
    subprocess.run([sys.executable, "-c", PARSE, json.dumps(command)], env=environment, cwd=SHOP, check=True)


def test_commands_of_celery_exist_with_their_flags() -> None:
    program, *command = words("worker")
    assert program == "celery"
    celery_parses(command)
    program, *check = SERVICES["worker"]["healthcheck"]["test"][1].replace("$$", "$").split()
    assert program == "celery"
    celery_parses(check)
    for arguments in (command, check):
        assert (SHOP / arguments[arguments.index("-A") + 1] / "celery.py").exists()


def test_health_check_of_web_is_python_and_asks_for_the_port_it_serves() -> None:
    kind, python, flag, code = SERVICES["web"]["healthcheck"]["test"]
    assert (kind, python, flag) == ("CMD", "python3", "-c")
    compile(code, "healthcheck", "exec")
    assert f":{words('web')[-1].rpartition(':')[2]}/admin/" in code
