"""Schema: the packaged `triggers.sql` and the version it installs."""

import re
from pathlib import Path

from bridge.errors import ConfigError

_PLACES = (
    Path(__file__).parent.with_name("triggers.sql"),  # in a wheel
    Path(__file__).parents[2] / "triggers.sql",  # in a checkout
)


def path() -> Path:
    """Returns the path of `triggers.sql`."""
    for place in _PLACES:
        if place.is_file():
            return place
    raise ConfigError(f"triggers.sql is missing beside {__file__}: reinstall commit-bridge")


def read() -> str:
    """Returns the text of `triggers.sql`. It may run as one simple query, inside or outside a transaction."""
    return path().read_text(encoding="utf-8")


def version() -> str:
    """Returns the version that this file installs. `select bridge.version()` returns it afterwards."""
    found = re.search(r"insert into bridge\.installation \(version\) values \('([^']+)'\)", read())
    if found is None:
        raise ConfigError(f"{path()} has no version: reinstall commit-bridge")
    return found[1]
