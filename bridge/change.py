"""Change: one line of a plan: what differs between a watch in the database and its declaration."""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

Action = Literal["install", "upgrade", "create", "replace", "repair", "keep", "remove", "later"]


class Change(msgspec.Struct, frozen=True):
    """One row of a plan. `install` and `upgrade` concern triggers.sql, all others a watch. `later`: the table or a
    column of the watch does not exist yet."""

    action: Action
    name: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    @property
    def reason(self) -> str:
        """Why a watch is for later, and what follows from it."""
        follows = "its changes start nothing" if self.before is None else "the watch stays as it was"
        return f"{(self.after or {}).get('reason')}, so {follows}"

    def lines(self) -> Iterator[str]:
        """Yields the change as a diff: a heading, then a line with `-` or `+` for each value that differs."""
        if self.action == "later":
            yield f"NOT INSTALLED {self.name}: {self.reason}"
            return
        yield f"{self.action} {self.name}"
        before, after = _flat(self.before), _flat(self.after)
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                yield from (
                    f"  {sign} {name} = {side[name]}" for sign, side in (("-", before), ("+", after)) if name in side
                )


def _flat(definition: dict[str, Any] | None) -> dict[str, str]:
    values = {name: value for name, value in (definition or {}).items() if name != "name"}
    values |= {f"options.{name}": value for name, value in values.pop("options", {}).items()}
    return {name: msgspec.json.encode(value).decode() for name, value in values.items() if value is not None}
