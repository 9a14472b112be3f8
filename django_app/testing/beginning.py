"""The beginning of each test: the mark in the log before which nothing belongs to the test.

Django sends no signal when a test begins, and a test that has begun can't find out which events are those of
`setUpTestData`: they are in the same transaction. So this module wraps the method with which Django prepares each test.
It queries the database only where rows can have been written before the test: once in a class that has its own
`setUpTestData`, `setUpClass` or `fixtures`, and in each test of a TransactionTestCase.
"""

from dataclasses import dataclass, field
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import TestCase, TransactionTestCase

from django_app.testing.chords import Chords
from django_app.testing.errors import TestingError
from django_app.testing.log import START, Log, Mark, may_read, testcase_blocks
from django_app.testing_settings import without_watches


@dataclass
class Beginning:
    """Where the present test began in the log of one database, and which of its events have been run since."""

    mark: Mark = START
    done: set[int] = field(default_factory=set)
    """The ids of the events whose tasks have been run."""
    chords: Chords = field(default_factory=Chords)
    """The chords whose tasks the test has called."""
    block: Any = None
    """The atomic block of the class, while the mark may serve its next test."""


_beginnings: dict[str, Beginning] = {}


def of_this_test(using: str) -> Beginning:
    """Returns the beginning of the present test; raises TestingError if no test was seen to begin."""
    __tracebackhide__ = True
    found = _beginnings.get(using)
    if found is None:
        raise TestingError(
            f"The testing kit has not seen where this test began in the database '{using}'. Import django_app.testing "
            "at the top of the module, use it in a test of Django's TestCase or TransactionTestCase (with pytest: "
            "in a test that may use the database), and let the test's `databases` name this alias."
        )
    return found


def begin(case: Any) -> None:
    """Notes that a test of this class begins. Fails no test, since it may be one that does not use the kit."""
    before = dict(_beginnings)
    _beginnings.clear()
    for using in case._databases_names():
        connection = connections[using]
        if connection.vendor == "postgresql" and not without_watches():
            _beginnings[using] = _beginning(connection, case, before.get(using))


def _beginning(connection: BaseDatabaseWrapper, case: type[TransactionTestCase], before: Beginning | None) -> Beginning:
    blocks = testcase_blocks(connection)
    if len(blocks) == 1 or (blocks and not _writes_for_class(case)):
        return Beginning()  # the transaction has only what the test itself writes
    block = blocks[0] if blocks else None
    if before is not None and block is not None and before.block is block:
        return Beginning(before.mark, block=block)
    return Beginning(Log(connection).mark() if may_read(connection) else START, block=block)


def _writes_for_class(case: type[TransactionTestCase]) -> bool:
    """Whether the class may write rows before its first test."""
    own = case.__mro__[: case.__mro__.index(TestCase)] if TestCase in case.__mro__ else ()
    return bool(case.fixtures) or any({"setUpTestData", "setUpClass"} & each.__dict__.keys() for each in own)


def _watch_tests() -> None:
    prepare: Any = TransactionTestCase.__dict__["_pre_setup"]

    def _pre_setup(case: type[TransactionTestCase]) -> None:
        prepare.__get__(None, case)()
        begin(case)

    TransactionTestCase._pre_setup = classmethod(_pre_setup)  # type: ignore[attr-defined]


_watch_tests()
