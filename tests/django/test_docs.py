"""The docs name every setting, option and check."""

import re
from pathlib import Path

import click
import pytest

from bridge.cli.main import COMMANDS
from django_app.cli.group import group
from django_app.declarations.declaration import Rule

ROOT = Path(__file__).parents[2]
HOWTO = (ROOT / "docs" / "howto" / "django.md").read_text()
REFERENCE = (ROOT / "docs" / "reference" / "django.md").read_text()
SOURCES = "".join(path.read_text() for path in (ROOT / "django_app").rglob("*.py"))


@pytest.mark.parametrize("found", sorted(set(re.findall(r"bridge\.[EW]\d+|(?<=\")BRIDGE_[A-Z_]+", SOURCES))))
def test_checks_and_settings_are_documented(found: str) -> None:
    assert f"`{found}`" in REFERENCE


@pytest.mark.parametrize("parameter", Rule.__annotations__)
def test_parameters_of_watch_are_documented(parameter: str) -> None:
    assert f"`{parameter}`" in HOWTO


@pytest.mark.parametrize("command", [command for command in group.commands.values() if command not in COMMANDS])
def test_own_commands_and_their_options_are_documented(command: click.Command) -> None:
    """Those that `bridge` has too are in docs/reference/commands.md."""
    assert f"`{command.name}" in REFERENCE
    known = {option for one in COMMANDS if one.name == command.name for option in one.params}
    for parameter in command.params:
        if parameter not in known and command.name != "run":
            assert parameter.opts[0] in REFERENCE or (parameter.human_readable_name or "") in REFERENCE
