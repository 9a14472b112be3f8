"""Account: what was committed against what was delivered.

A change is (stream, row, version, operation): the ledger has it once, in the transaction that made it. Order is judged
by first deliveries: of each row, in the order of the worker's notes, versions grow. Later ones are the repetitions
that "at least once" allows; they must carry the same task id.
"""

import json
from collections import defaultdict

import msgspec

from monkey.zoo import STREAMS, Zoo

Change = tuple[str, int, int, str]


class Account(msgspec.Struct):
    """Changes, counted."""

    committed: int = 0
    delivered: int = 0
    lost: int = 0
    phantom: int = 0
    duplicates: int = 0
    duplicates_with_new_id: int = 0
    out_of_order_keys: int = 0

    @property
    def balanced(self) -> bool:
        """Whether every promise was kept."""
        return self.committed > 0 and not (
            self.lost or self.phantom or self.duplicates_with_new_id or self.out_of_order_keys
        )


def committed(zoo: Zoo) -> set[Change]:
    """All that the ledgers have."""
    with zoo.connect() as conn:
        rows = [
            (stream, *row)
            for stream in STREAMS
            for row in conn.execute(f"select id, version, operation from {stream}_ledger".encode())
        ]
    return set(rows)


def noted(zoo: Zoo) -> list[tuple[str, Change]]:
    """Task id and change of every delivery, in order."""
    lines = [
        json.loads(line)
        for stream in STREAMS
        if zoo.notes(stream).exists()
        for line in zoo.notes(stream).read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]
    return [(task_id, (watch, key, version, operation)) for task_id, watch, key, version, operation in lines]


def balance(changes: set[Change], notes: list[tuple[str, Change]]) -> Account:
    """Both sides compared."""
    ids: dict[Change, set[str]] = defaultdict(set)
    latest: dict[tuple[str, int], tuple[int, bool]] = {}
    disordered: set[tuple[str, int]] = set()
    for task_id, change in notes:
        stream, row, version, operation = change
        if change not in ids:
            place = version, operation == "delete"
            if latest.get((stream, row), (0, False)) > place:
                disordered.add((stream, row))
            latest[stream, row] = place
        ids[change].add(task_id)
    return Account(
        committed=len(changes),
        delivered=len(changes & ids.keys()),
        lost=len(changes - ids.keys()),
        phantom=len(ids.keys() - changes),
        duplicates=len(notes) - len(ids),
        duplicates_with_new_id=sum(len(of_change) > 1 for of_change in ids.values()),
        out_of_order_keys=len(disordered),
    )
