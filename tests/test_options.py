"""The options of a watch: every list of them names the same options as `bridge.call_options.Options`."""

import re
from pathlib import Path

import psycopg
import pytest

from bridge.call_options import Options
from bridge.watch import Watch
from django_app.declarations.declaration import Rule
from tests.fix_bridge import ROOT

OPTIONS = set(Options.__struct_fields__)
# A correct value of each option, as JSON.
VALUES = {
    "call": '"event"',
    "queue": '"q"',
    "priority": "5",
    "countdown": "1",
    "expires": "1",
    "headers": '{"a": 1}',
    "source": '"s"',
    "on_error": '"warn"',
    "own_writes": '"ignore"',
}


def table(page: Path, heading: str, column: int = 0) -> list[str]:
    """Returns a column of the first table below a heading, without its back quotes."""
    text = page.read_text().partition(f"\n{heading}\n")[2]
    rows = re.search(r"((?:^\|.*\n)+)", text, re.MULTILINE)
    assert rows is not None
    cells = [line.split("|")[column + 1].strip() for line in rows[1].splitlines()[2:]]
    return [cell.strip("`") for cell in cells]


def test_the_database_accepts_each_option_and_no_other(conn: psycopg.Connection) -> None:
    for name in OPTIONS:
        value = VALUES.get(name, "true")
        conn.execute("select bridge._check_options('w', %s::jsonb)", [f'{{"{name}": {value}}}'])
    with pytest.raises(psycopg.Error, match="unknown option") as caught:
        conn.execute("""select bridge._check_options('w', '{"nothing": true}')""")
    listed = str(caught.value).splitlines()[0].partition("the options are: ")[2]
    assert set(listed.split(", ")) == OPTIONS


def test_a_declaration_in_django_has_all_keys_that_bridge_toml_has_but_its_own() -> None:
    # The database of a bridge.toml is that of the command.
    assert set(Rule.__annotations__) - {"using"} == set(Watch.__struct_fields__) - {"table", "task", "source"}


def test_the_reference_has_a_row_for_each_option() -> None:
    page = ROOT / "docs" / "reference" / "watch.md"
    assert set(table(page, "## Options")) == set(table(page, "## Options", 1)) == OPTIONS
    parameters = set(table(page, "## Parameters", 1)) - {"see below"}
    assert parameters == set(Watch.__struct_fields__) - OPTIONS


def test_the_example_of_bridge_toml_has_each_key() -> None:
    example = (ROOT / "docs" / "howto" / "toml.md").read_text().partition("# Every key.")[2].partition("```")[0]
    keys = set(re.findall(r"^(\w+) = ", example, re.MULTILINE))
    assert keys == set(Watch.__struct_fields__) - {"source"}


def test_the_guide_for_django_has_each_key() -> None:
    text = (ROOT / "docs" / "howto" / "django.md").read_text()
    first_cells = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    listed = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    assert set(Rule.__annotations__) <= listed
