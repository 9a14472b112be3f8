"""Schema: the packaged `triggers.sql` and the version it installs."""

import re
from pathlib import Path

from bridge.errors import ConfigError

_PLACES = (
    Path(__file__).with_name("triggers.sql"),  # in a wheel
    Path(__file__).parent.parent / "triggers.sql",  # in a checkout
)


def path() -> Path:
    """Where `triggers.sql` is."""
    for place in _PLACES:
        if place.is_file():
            return place
    raise ConfigError(f"triggers.sql is missing beside {__file__}: reinstall commit-bridge")


def read() -> str:
    """The text of `triggers.sql`; safe to execute as one simple query, inside or outside a transaction."""
    return path().read_text(encoding="utf-8")


def version() -> str:
    """The version that this file installs, as `select bridge.version()` tells it afterwards."""
    found = re.search(r"insert into bridge\.installation \(version\) values \('([^']+)'\)", read())
    if found is None:
        raise ConfigError(f"{path()} names no version: reinstall commit-bridge")
    return found[1]
