"""Account: compares the committed changes with the delivered ones.

The ledger has each change once, written by the transaction that made it. Order is judged by first deliveries: in the
worker's notes, the places of a row's changes must grow. Later deliveries are repetitions, which "at least once" allows.
They must have the same task id, and no other change may have it.

The bridge does not promise to deliver what a failover loses: `fallen` has the changes that were in the ledger of the
dead primary but not in that of the promoted server. They may have been delivered or not, and do not count for the
order of the others.
"""

import json
from collections import defaultdict

import msgspec

from tools.chaos.ledger import STREAMS, Change
from tools.chaos.system import System


class Account(msgspec.Struct):
    """Numbers of changes."""

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
    """Changes that were delivered but lost by a failover."""

    @property
    def balanced(self) -> bool:
        """Whether the bridge kept every promise."""
        return self.committed > 0 and not (
            self.lost
            or self.phantom
            or self.duplicates_with_new_id
            or self.ids_of_two_changes
            or self.out_of_order_keys
        )


def noted(system: System) -> list[tuple[str, Change]]:
    """Returns the task id and the change of every delivery, in order."""
    lines = [
        json.loads(line)
        for stream in STREAMS
        if system.notes(stream).exists()
        for line in system.notes(stream).read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]
    return [(task_id, Change(*change)) for task_id, *change in lines]


def balance(committed: set[Change], fallen: set[Change], notes: list[tuple[str, Change]]) -> Account:
    """Compares both sides."""
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
