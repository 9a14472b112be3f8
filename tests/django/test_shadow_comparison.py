"""Which publish belongs to which change: the pure comparison."""

from datetime import UTC, datetime, timedelta

import pytest

from django_app.shadow.comparison import Published, Recorded, compare
from django_app.shadow.verdict import EXAMPLES, Verdict

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def change(seconds: float, xid: str, key: object = 1, statement: str = "update", watch: str = "w") -> Recorded:
    return Recorded(watch, [key], statement, at(seconds), xid)


def after(seconds: float, key: object = 1) -> Published:
    """A publish outside of a transaction."""
    return Published([key, "more"], at(seconds), False, None, "shop.py:1", None)


def inside(seconds: float, xid: str | None, fate: str | None, key: object = 1) -> Published:
    return Published([key], at(seconds), True, xid, "shop.py:2", fate)


def found(recorded: list[Recorded], published: list[Published], since: float = 0, until: float = 1e6) -> dict[str, int]:
    verdict = Verdict("w", "t", at(since), at(until))
    compare({"w": verdict}, recorded, published)
    kinds = ("equal", "missed", "doubled", "early", "rolled_back", "needless", "unknown")
    return {kind: getattr(verdict, kind) for kind in kinds if getattr(verdict, kind)}


@pytest.mark.parametrize(
    ("recorded", "published", "expected"),
    [
        ([], [], {}),
        ([change(1, "7")], [after(2)], {"equal": 1}),
        ([change(1, "7", key="1")], [after(2, key=1)], {"equal": 1}),
        ([change(1, "7")], [after(2, key=2)], {"missed": 1, "needless": 1}),
        ([change(1, "7")], [after(0.5)], {"missed": 1, "needless": 1}),
        ([change(1, "7")], [after(62)], {"missed": 1, "needless": 1}),
        ([change(1, "7"), change(1.1, "7")], [after(2)], {"equal": 1}),
        ([change(1, "7"), change(1.1, "7")], [after(2), after(3)], {"equal": 1}),
        ([change(1, "7"), change(1.1, "7")], [after(2), after(3), after(4)], {"doubled": 1}),
        ([change(1, "7"), change(2, "8")], [after(3), after(4)], {"equal": 2}),
        ([change(1, "7"), change(2, "8")], [after(3)], {"equal": 1, "missed": 1}),
        ([change(1, "7")], [inside(2, "7", "committed")], {"early": 1}),
        ([change(1, "7")], [inside(2, "7", "committed"), after(3)], {"early": 1, "doubled": 1}),
        ([change(1, "7")], [inside(2, "8", "aborted")], {"missed": 1, "rolled_back": 1}),
        ([change(1, "7")], [inside(2, "8", "committed")], {"missed": 1, "needless": 1}),
        ([change(1, "7")], [inside(2, "8", "in progress")], {"missed": 1}),
        ([change(1, "7")], [inside(2, "8", None)], {"missed": 1, "unknown": 1}),
        ([change(1, "7")], [inside(0.5, None, None)], {"early": 1}),
        ([change(1, "7")], [inside(2, None, None)], {"missed": 1, "unknown": 1}),
        ([change(1, "7")], [inside(1.4, None, None)], {"early": 1}),
        ([change(1, "7"), change(2, "8")], [inside(1.4, None, None), after(1.1)], {"equal": 1, "early": 1}),
        ([Recorded("w", [], "truncate", at(1), "7")], [], {"missed": 1}),
    ],
)
def test_cases(recorded: list[Recorded], published: list[Published], expected: dict[str, int]) -> None:
    assert found(recorded, published) == expected


def test_a_missed_change_is_the_one_without_a_publish_near_it() -> None:
    verdict = Verdict("w", "t", START, at(1e6))
    compare({"w": verdict}, [change(1, "7", statement="bulk"), change(20, "8", statement="save")], [after(20.1)])
    assert [example.cause for example in verdict.examples["missed"]] == ["bulk"]


def test_a_young_change_is_judged_only_if_it_was_published() -> None:
    assert found([change(9, "7")], [], until=5) == {}
    assert found([change(9, "7")], [after(9.1)], until=5) == {"equal": 1}


def test_what_is_older_than_the_begin_counts_for_nothing_but_keeps_its_publish() -> None:
    assert found([change(1, "7"), change(11, "8")], [after(1.5), after(11.5)], since=10) == {"equal": 1}
    assert found([change(9.9, "7")], [after(10.1)], since=10) == {}


def test_examples_are_counted_by_their_cause_and_are_few() -> None:
    verdict = Verdict("w", "t", START, at(1e6))
    recorded = [change(n, str(n), key=n, statement=f"s{n % 10}") for n in range(30)]
    compare({"w": verdict}, recorded, [])
    assert verdict.missed == 30
    assert [(example.cause, example.count) for example in verdict.examples["missed"]] == [
        (f"s{n}", 3) for n in range(EXAMPLES)
    ]


def test_watches_of_one_task_share_its_publishes() -> None:
    """Each publish belongs to a change of any of them, so none is "without a change" for the others."""
    verdicts = {name: Verdict(name, "t", START, at(1e6)) for name in ("a", "b")}
    recorded = [
        change(1, "7", key=1, watch="a"),
        change(10, "8", key=1, watch="b"),
        change(20, "9", key=2, watch="a"),
        change(20.1, "9", key=2, watch="b"),
        change(30, "10", key=3, watch="b"),
    ]
    compare(verdicts, recorded, [after(1.5), after(10.5), after(21, key=2), after(40, key=4)])
    assert [(v.changes, v.equal, v.missed, v.needless, v.publishes) for v in verdicts.values()] == [
        (2, 2, 0, 1, 3),
        (3, 2, 1, 1, 3),
    ]


def test_a_truncate_is_no_row_of_every_publish() -> None:
    assert found([Recorded("w", [], "truncate", at(1), "7"), change(1, "8")], [after(2)]) == {"equal": 1, "missed": 1}


def test_a_task_that_was_sent_in_the_transaction_is_equal() -> None:
    sent = Published([1], at(1), False, "7", None, "committed")
    assert found([change(1.5, "7")], [sent]) == {"equal": 1}
    assert found([change(1.5, "8")], [sent]) == {"missed": 1, "needless": 1}
