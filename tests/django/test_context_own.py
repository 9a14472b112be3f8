"""A project that uses the setting `bridge.context` itself: code that sets it decides, and code that reads it not."""

from typing import Any

import pytest
from django.db import connection, transaction

import bridge
from tests.fix_postgres import Database

SETS = [
    """select set_config('bridge.context', '{"mine": 1}', true)""",
    """SELECT pg_catalog.set_config( 'bridge.context','{"mine": 1}', true)""",
    """set local bridge.context = '{"mine": 1}'""",
    """SET LOCAL "bridge.context" TO '{"mine": 1}'""",
]
READS = [
    "select current_setting('bridge.context', true)",
    "update catalog_product set name = current_setting('bridge.context', true) where false",
    "select 'set to bridge.context'",
]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        *((statement, '{"mine": 1}') for statement in SETS),
        *((statement, '{"reason": "import"}') for statement in READS),
    ],
)
def test_code_that_sets_it_decides(shelf: Database, statement: str, expected: Any) -> None:
    with bridge.context(reason="import"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
        cursor.execute("insert into catalog_product (name, price) values ('Tea', 1)")
        cursor.execute("select current_setting('bridge.context', true)")
        assert cursor.fetchone() == (expected,)
