"""Random inputs that PostgreSQL can store: rows of the log, sends with any arguments, column values."""

import json
from typing import NamedTuple

from hypothesis import strategies as st

# PostgreSQL's text may contain every character except NUL and lone surrogates.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_LONG = st.sampled_from([300, 5_000, 70_000]).map("n".__mul__)
_NUMBERS = st.one_of(
    st.integers(-(10**25), 10**25).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(json.dumps),
    st.sampled_from(["1e5000", "-1e400", "0.1e-300", "1" + "0" * 400 + ".5", "-0", "9223372036854775808", "3.0"]),
)
_LEAVES = st.one_of(
    st.sampled_from(["null", "true", "false", "{}", "[]"]), _NUMBERS, st.one_of(TEXT, _LONG).map(json.dumps)
)


def _array(items: list[str]) -> str:
    return f"[{', '.join(items)}]"


def _object(items: dict[str, str]) -> str:
    return f"{{{', '.join(f'{json.dumps(name)}: {value}' for name, value in items.items())}}}"


_DEEP = st.sampled_from([150, 199, 200, 201, 900, 3_000]).map(lambda depth: "[" * depth + "]" * depth)
JSON = st.one_of(
    st.recursive(
        _LEAVES,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(_array), st.dictionaries(TEXT, inner, max_size=3).map(_object)
        ),
        max_leaves=6,
    ),
    _DEEP,
)
_KEY = st.one_of(st.none(), st.lists(JSON, max_size=2).map(_array), JSON)


def _with(names: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Returns JSON objects that mostly have these names, which the bridge or Celery looks up."""
    return st.dictionaries(st.one_of(st.sampled_from(names), TEXT), JSON, max_size=4).map(_object)


QUEUES = ("", "fuzz", "amq.x", "q" * 300)


def _options(queues: tuple[str, ...]) -> st.SearchStrategy[str]:
    free = st.one_of(JSON, _with(("queue", "priority", "countdown", "expires", "headers", "coalesce", "call", "link")))
    headers = _with(("task", "id", "eta", "tenant", "h" * 300, "CC", "_children", "get"))
    said = st.fixed_dictionaries(
        {"queue": st.sampled_from(queues).map(json.dumps)},
        optional={"headers": headers, "priority": _NUMBERS, "countdown": _NUMBERS, "expires": _NUMBERS},
    ).map(_object)
    return st.one_of(said, said, free)


class Row(NamedTuple):
    """A row of the log."""

    id: int | None
    watch: str
    op: str
    key: str | None
    data: str | None
    context: str | None
    at: str


class Send(NamedTuple):
    """Arguments of `bridge.send`."""

    task: str
    args: str
    kwargs: str
    options: str
    context: str | None


class Values(NamedTuple):
    """Values of a row of a watched table, and the transaction's context."""

    t: str | None
    j: str | None
    n: str | None
    f: str | None
    ts: str | None
    a: list[str] | None
    context: str | None


Input = Row | Send | Values

_CONTEXT = st.one_of(
    st.none(), TEXT, JSON, st.sampled_from(["[" * 5_000, "NaN", '"\\ud800"', '"\\u0000"', "{", "1e999"])
)
_TIMES = ("now", "infinity", "-infinity", "4000-01-01 BC", "0001-01-01", "294276-12-31", "2026-01-01")


def inputs(queues: tuple[str, ...]) -> st.SearchStrategy[Input]:
    """Returns the strategy of all inputs. `queues` are names of queues that differ from test to test."""
    data = st.one_of(
        st.none(),
        JSON,
        _with(("old", "new", "changed", "old_key")),
        st.fixed_dictionaries(
            {"task": st.sampled_from(['"shop.mail"', '"shop.other"', "null", '["shop.mail"]'])},
            optional={"args": JSON, "kwargs": JSON, "options": _options(queues)},
        ).map(_object),
    )
    watches = st.one_of(st.sampled_from(["plain", "event", "coalesced", "", "gone"]), TEXT, _LONG)
    return st.one_of(
        st.builds(
            Row,
            st.one_of(st.none(), st.sampled_from([-1, 0, 7, 2**63 - 1])),
            watches,
            st.one_of(st.sampled_from(["insert", "update", "delete", "truncate", "send", "send"]), TEXT),
            _KEY,
            data,
            _CONTEXT,
            st.sampled_from(_TIMES),
        ),
        st.builds(Send, st.sampled_from(["shop.mail", "shop.other", ""]), JSON, JSON, _options(queues), _CONTEXT),
        st.builds(
            Values,
            st.one_of(st.none(), TEXT, _LONG),
            st.one_of(st.none(), JSON),
            st.sampled_from([None, "NaN", "Infinity", "1e131000", "-1e-16000", "0.10"]),
            st.sampled_from([None, "NaN", "-Infinity", "1e308", "5e-324"]),
            st.sampled_from([None, *_TIMES]),
            st.one_of(st.none(), st.lists(TEXT, max_size=2)),
            _CONTEXT,
        ),
    )
