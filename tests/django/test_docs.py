"""docs/howto/django.md names every setting, option and check."""

import re
from pathlib import Path

import pytest
from django.core.management import load_command_class

from django_app.declarations.declaration import Rule

ROOT = Path(__file__).parents[2]
HOWTO = (ROOT / "docs" / "howto" / "django.md").read_text()
SOURCES = "".join(path.read_text() for path in (ROOT / "django_app").rglob("*.py"))


@pytest.mark.parametrize("found", sorted(set(re.findall(r"bridge\.E\d+|(?<=\")BRIDGE_[A-Z_]+", SOURCES))))
def test_checks_and_settings_are_documented(found: str) -> None:
    assert f"`{found}`" in HOWTO


@pytest.mark.parametrize("parameter", Rule.__annotations__)
def test_parameters_of_watch_are_documented(parameter: str) -> None:
    assert f"`{parameter}`" in HOWTO


def test_options_of_bridge_sync_are_documented() -> None:
    parser = load_command_class("django_app", "bridge_sync").create_parser("manage.py", "bridge_sync")
    for option in ("--check", "--database"):
        assert option in parser.format_help()
        assert f"`{option}" in HOWTO
