"""scripts/chaos: its judge finds what it should, and a short run keeps every promise."""

import json
import subprocess
from pathlib import Path

import pytest

from tools.chaos.account import Account, balance
from tools.chaos.ledger import Change

ROOT = Path(__file__).parents[1]
FIRST = Change("valkey", 1, 1, 2, "update")
SECOND = Change("valkey", 1, 1, 3, "update")
GONE = Change("valkey", 1, 1, 3, "delete")
# The failover lost this change, and the next timeline gave its version to another change.
FALLEN = Change("valkey", 2, 1, 7, "update")
AGAIN = Change("valkey", 2, 2, 6, "update")
STRANGE = Change("valkey", 9, 1, 1, "insert")


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ([("a", FIRST), ("b", SECOND), ("c", GONE)], Account(3, 3)),
        ([("a", FIRST), ("b", SECOND)], Account(3, 2, lost=1)),
        ([("a", FIRST), ("b", SECOND), ("c", GONE), ("d", STRANGE)], Account(3, 3, phantom=1)),
        ([("a", FIRST), ("a", FIRST), ("b", SECOND), ("c", GONE)], Account(3, 3, duplicates=1)),
        (
            [("a", FIRST), ("b", SECOND), ("x", FIRST), ("c", GONE)],
            Account(3, 3, duplicates=1, duplicates_with_new_id=1),
        ),
        ([("a", FIRST), ("b", SECOND), ("b", GONE)], Account(3, 3, ids_of_two_changes=1)),
        ([("b", SECOND), ("a", FIRST), ("c", GONE)], Account(3, 3, out_of_order_keys=1)),
        ([("a", FIRST), ("c", GONE), ("b", SECOND)], Account(3, 3, out_of_order_keys=1)),
        # A repeated task may be older than the tasks since.
        ([("a", FIRST), ("b", SECOND), ("c", GONE), ("a", FIRST)], Account(3, 3, duplicates=1)),
    ],
)
def test_the_account_finds_what_went_wrong(notes: list[tuple[str, Change]], expected: Account) -> None:
    account = balance({FIRST, SECOND, GONE}, set(), notes)
    assert account == expected
    assert account.balanced is not broken(account)


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ([("b", AGAIN)], Account(1, 1, lost_by_failover=1)),
        ([("a", FALLEN), ("b", AGAIN)], Account(1, 1, lost_by_failover=1, phantom_by_failover=1)),
        ([("a", FALLEN)], Account(1, 0, lost=1, lost_by_failover=1, phantom_by_failover=1)),
        ([("b", AGAIN), ("c", STRANGE)], Account(1, 1, phantom=1, lost_by_failover=1)),
        # A lost payment and another payment share one id.
        (
            [("a", FALLEN), ("a", AGAIN)],
            Account(1, 1, ids_of_two_changes=1, lost_by_failover=1, phantom_by_failover=1),
        ),
        # A bridge still had this task, and wakes up late.
        ([("b", AGAIN), ("a", FALLEN)], Account(1, 1, lost_by_failover=1, phantom_by_failover=1)),
    ],
)
def test_what_a_failover_lost_is_its_own_and_nothing_else_is(
    notes: list[tuple[str, Change]], expected: Account
) -> None:
    account = balance({AGAIN}, {FALLEN}, notes)
    assert account == expected
    assert account.balanced is not broken(account)


def broken(account: Account) -> bool:
    wrong = account.lost, account.phantom, account.duplicates_with_new_id, account.ids_of_two_changes
    return any((*wrong, account.out_of_order_keys))


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "options", [[], ["--only", "fail_over", "--only", "migrations"]], ids=["all", "failover-and-migrations"]
)
def test_half_a_minute_of_chaos_keeps_every_promise(options: list[str]) -> None:
    command: list[str | Path] = [ROOT / "scripts" / "chaos", "--minutes", "0.5", "--json", *options]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr + run.stdout
    result = json.loads(run.stdout)
    assert result["lost"] == 0
    assert result["migrations"]
