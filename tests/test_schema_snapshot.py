"""The repository contains a dump of what triggers.sql installs, so that a review sees every change of the schema."""

import difflib
from pathlib import Path

import pytest

from tests.fix_postgres import TRIGGERS_SQL, Database, on_pg18
from tests.fix_schema import dump

SNAPSHOT = Path(__file__).parent / "schema.sql"
RENEW = "scripts/test tests/test_schema_snapshot.py --renew-schema"


@on_pg18
def test_the_installed_schema_is_the_one_in_the_repository(database: Database, renew_schema: bool) -> None:
    installed = dump(database)
    if renew_schema:
        SNAPSHOT.write_text(installed)
    known = SNAPSHOT.read_text() if SNAPSHOT.exists() else ""
    if installed != known:
        diff = list(
            difflib.unified_diff(known.splitlines(), installed.splitlines(), "tests/schema.sql", "installed", n=1)
        )
        shown = [*diff[:60], *(["..."] if len(diff) > 60 else [])]
        pytest.fail(
            "\n".join(["The schema has changed. If that is intended, renew the copy:", RENEW, *shown]), pytrace=False
        )


@on_pg18
def test_applying_triggers_sql_twice_leaves_the_same_schema(database: Database) -> None:
    before = dump(database)
    with database.connect() as connection:
        connection.execute(TRIGGERS_SQL.read_bytes())
    assert dump(database) == before


def test_no_line_of_triggers_sql_has_more_than_120_characters() -> None:
    lines = enumerate(TRIGGERS_SQL.read_text().splitlines(), 1)
    assert [number for number, line in lines if len(line) > 120] == []
