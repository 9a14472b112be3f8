"""The page with the SQL that `bridge.watch` generates shows what is generated."""

import re

import psycopg

from tests.fix_bridge import ROOT
from tests.fix_postgres import on_pg15, on_pg18

PAGE = ROOT / "docs" / "reference" / "generated-sql.md"
RENEW = "scripts/test -n 0 tests/test_generated_sql.py --renew-schema"
SAMPLE = re.compile(r"(?<=<!-- sample -->\n```sql\n).*?(?=```\n)", re.DOTALL)
WATCH = re.compile(r"<!-- watch -->\n```sql\n(.*?)```\n", re.DOTALL)
GENERATED = """
    select pg_get_functiondef('bridge.capture_reprice'::regproc)
    union all
    (select pg_get_triggerdef(oid) || ';' from pg_trigger where tgrelid = 'product'::regclass order by tgname)
"""
# Numbers that differ from database to database.
NUMBERS = [
    (r"\d+/\d+(?=[\"'])", "7300000000000000000/16384"),
    (r"'\d+'::pg_catalog.regclass", "'16385'::pg_catalog.regclass"),
    (r'"relation": \d+', '"relation": 16385'),
]


def watch_of(page: str) -> str:
    found = WATCH.search(page)
    assert found is not None
    return found[1]


def shown(page: str) -> str:
    found = SAMPLE.search(page)
    assert found is not None
    return found[0]


def generated(conn: psycopg.Connection, statements: str) -> str:
    conn.execute(statements.encode())
    text = "\n\n".join(str(row[0]).rstrip() for row in conn.execute(GENERATED)) + "\n"
    for pattern, number in NUMBERS:
        text = re.sub(pattern, number, text)
    return re.sub(r" +\n", "\n", text)


@on_pg18
def test_the_page_shows_what_is_generated(conn: psycopg.Connection, renew_schema: bool) -> None:
    found = generated(conn, watch_of(PAGE.read_text()))
    if renew_schema:
        PAGE.write_text(SAMPLE.sub(lambda _: found, PAGE.read_text()))
    assert shown(PAGE.read_text()) == found, f"{PAGE.name} differs. If that is intended: {RENEW}"


@on_pg15
def test_an_older_server_generates_the_same_text(conn: psycopg.Connection) -> None:
    page = PAGE.read_text()
    assert generated(conn, watch_of(page)) == shown(page)
