"""Account: what was committed against what was delivered.

The ledger has each change once, in the transaction that made it. Order is judged by first deliveries: of each row, in
the order of the worker's notes, places grow. Later ones are the repetitions that "at least once" allows; they must
carry the same task id, and no other change may carry it.

What a failover lost is no promise of the bridge: `fallen` are the changes that the dead primary's ledger had and the
promoted one's had not. They may have been delivered, or not, and have no place in the order of those that stand.
"""

import json
from collections import defaultdict

import msgspec

from monkey.ledger import STREAMS, Change
from monkey.zoo import Zoo


class Account(msgspec.Struct):
    """Changes, counted."""

    committed: int = 0
    delivered: int = 0
    lost: int = 0
    phantom: int = 0
    duplicates: int = 0
    duplicates_with_new_id: int = 0
    ids_of_two_changes: int = 0
    out_of_order_keys: int = 0
    lost_by_failover: int = 0
    phantom_by_failover: int = 0
    """Delivered, and lost by a failover."""

    @property
    def balanced(self) -> bool:
        """Whether every promise was kept."""
        return self.committed > 0 and not (
            self.lost
            or self.phantom
            or self.duplicates_with_new_id
            or self.ids_of_two_changes
            or self.out_of_order_keys
        )


def noted(zoo: Zoo) -> list[tuple[str, Change]]:
    """Task id and change of every delivery, in order."""
    lines = [
        json.loads(line)
        for stream in STREAMS
        if zoo.notes(stream).exists()
        for line in zoo.notes(stream).read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]
    return [(task_id, Change(*change)) for task_id, *change in lines]


def balance(committed: set[Change], fallen: set[Change], notes: list[tuple[str, Change]]) -> Account:
    """Both sides compared."""
    ids: dict[Change, set[str]] = defaultdict(set)
    named: dict[str, set[Change]] = defaultdict(set)
    latest: dict[tuple[str, int], tuple[int, int, bool]] = {}
    disordered: set[tuple[str, int]] = set()
    for task_id, change in notes:
        key = change.stream, change.row
        if change not in ids and change not in fallen:
            if latest.get(key, change.place) > change.place:
                disordered.add(key)
            latest[key] = change.place
        ids[change].add(task_id)
        named[task_id].add(change)
    return Account(
        committed=len(committed),
        delivered=len(committed & ids.keys()),
        lost=len(committed - ids.keys()),
        phantom=len(ids.keys() - committed - fallen),
        duplicates=len(notes) - len(ids),
        duplicates_with_new_id=sum(len(of_change) > 1 for of_change in ids.values()),
        ids_of_two_changes=sum(len(of_id) > 1 for of_id in named.values()),
        out_of_order_keys=len(disordered),
        lost_by_failover=len(fallen),
        phantom_by_failover=len(fallen & ids.keys()),
    )
