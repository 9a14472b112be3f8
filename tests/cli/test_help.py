"""The help shows the steps to a running bridge."""

import re

import pytest

from bridge.database.schema import version
from tests.cli.command import COMMANDS, Command, started


def test_help_names_the_three_steps(bridge: Command) -> None:
    for arguments in (["--help"], ["-h"]):
        done = bridge(*arguments)
        assert done.code == 0
        for step in ("bridge install", "bridge apply bridge.toml", "bridge run"):
            assert step in done.out
        for command in COMMANDS:
            assert re.search(rf"^  {command} +\S", done.out, re.MULTILINE), command


def test_without_a_command_it_shows_the_help(bridge: Command) -> None:
    done = bridge()
    assert done.code == 2
    assert "bridge install" in done.out + done.err


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(bridge: Command, command: str) -> None:
    done = bridge(command, "--help")
    assert done.code == 0
    assert "BRIDGE_DATABASE_URL" in done.out
    assert re.search(r"^  [A-Z].*\.", done.out, re.MULTILINE)


def test_help_of_apply_shows_a_whole_watch(bridge: Command) -> None:
    out = bridge("apply", "--help").out
    for line in ("[[watch]]", 'name = "reprice"', 'table = "shop.product"', 'on = ["update"]'):
        assert line in out


def test_every_option_of_run_is_explained(bridge: Command) -> None:
    out = bridge("run", "--help").out
    options = re.findall(r"^  (--[a-z-]+) ", out, re.MULTILINE)
    assert {"--database-url", "--broker-url", "--app", "--stream", "--http"} <= set(options)
    for option in options:
        variable = "BRIDGE_" + option.removeprefix("--").replace("-", "_").upper()
        assert {"--app": "BRIDGE_CELERY_APP"}.get(option, variable) in out


def test_unknown_command_and_option_are_wrong_use(bridge: Command) -> None:
    for arguments in (["stats"], ["status", "--jsno"], ["apply"], ["run", "--batch-size=0"]):
        done = bridge(*arguments)
        assert done.code == 2
        assert "Error: " in done.err
        assert "Traceback" not in done.err


def test_tells_its_version() -> None:
    done = started("--version")
    assert (done.code, done.out) == (0, f"bridge, version {version()}\n")
