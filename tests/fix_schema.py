"""The schema that triggers.sql installs, as pg_dump shows it, and the option that renews the repository's copy."""

import re
import subprocess

import pytest

from tests.fix_postgres import Database
from tools.servers import Postgres

# Lines that differ between versions or machines, or that contain no information.
_NOISE = re.compile(
    r"^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\(un)?restrict .*|ALTER .* OWNER TO .*)$", re.MULTILINE
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew-schema", action="store_true", help="rewrite tests/schema.sql from triggers.sql")


@pytest.fixture
def renew_schema(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--renew-schema"))


def dump(database: Database) -> str:
    """Returns the dump without lines that differ for no reason. pg_dump orders objects by kind and name."""
    command = [str(Postgres.bin("pg_dump")), "--schema-only", "--no-owner", "--schema=bridge", database.dsn]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return re.sub(r"\n{3,}", "\n\n", _NOISE.sub("", text)).strip() + "\n"
