"""`bridge install` reports what it did."""

from bridge.database.schema import version
from tests.cli.command import Command
from tests.fix_postgres import Database


def test_install_says_what_it_did(bridge: Command, empty_database: Database) -> None:
    first = bridge("install", "--database-url", empty_database.dsn)
    assert (first.code, first.err) == (0, "")
    assert first.out.startswith(f"Installed {version()}. Next: bridge apply")
    again = bridge("install", "--database-url", empty_database.dsn)
    assert again.code == 0
    assert f"{version()} was already installed" in again.out
