"""scripts/chaos: its judge finds what it should, and a short run keeps every promise."""

import json
import subprocess
from pathlib import Path

import pytest
from monkey.account import Account, Change, balance

ROOT = Path(__file__).parents[1]
FIRST: Change = ("valkey", 1, 2, "update")
SECOND: Change = ("valkey", 1, 3, "update")
GONE: Change = ("valkey", 1, 3, "delete")


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ([("a", FIRST), ("b", SECOND), ("c", GONE)], Account(3, 3)),
        ([("a", FIRST), ("b", SECOND)], Account(3, 2, lost=1)),
        ([("a", FIRST), ("b", SECOND), ("c", GONE), ("d", ("valkey", 9, 1, "insert"))], Account(3, 3, phantom=1)),
        ([("a", FIRST), ("a", FIRST), ("b", SECOND), ("c", GONE)], Account(3, 3, duplicates=1)),
        (
            [("a", FIRST), ("b", SECOND), ("x", FIRST), ("c", GONE)],
            Account(3, 3, duplicates=1, duplicates_with_new_id=1),
        ),
        ([("b", SECOND), ("a", FIRST), ("c", GONE)], Account(3, 3, out_of_order_keys=1)),
        ([("a", FIRST), ("c", GONE), ("b", SECOND)], Account(3, 3, out_of_order_keys=1)),
        # A repetition may be older than what came since.
        ([("a", FIRST), ("b", SECOND), ("c", GONE), ("a", FIRST)], Account(3, 3, duplicates=1)),
    ],
)
def test_the_account_finds_what_went_wrong(notes: list[tuple[str, Change]], expected: Account) -> None:
    account = balance({FIRST, SECOND, GONE}, notes)
    assert account == expected
    broken = expected.lost or expected.phantom or expected.duplicates_with_new_id or expected.out_of_order_keys
    assert account.balanced is not bool(broken)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_half_a_minute_of_chaos_keeps_every_promise() -> None:
    command: list[str | Path] = [ROOT / "scripts" / "chaos", "--minutes", "0.5", "--json"]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr + run.stdout
    assert json.loads(run.stdout)["lost"] == 0
