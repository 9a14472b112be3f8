"""Options of a call: a custom header never replaces one of Celery's, wherever the row came from."""

import ast
import inspect
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import celery.app.trace
import celery.worker
import kombu
import msgspec
import psycopg
import pytest
from celery import Celery
from celery.app.task import Context
from psycopg.types.json import Jsonb

from bridge.call import Call, Refusal, Target, Targets, call_for, targets_of
from bridge.call_options import RESERVED_HEADERS, complaint
from bridge.event import Event
from bridge.stream.event_log import EventLog
from tests.fix_postgres import TRIGGERS_SQL, Database

AT = datetime(2026, 11, 24, tzinfo=UTC)
SENDABLE = Targets(sendable=frozenset({"shop.mail"}))


def sent(**data: Any) -> Event:
    return Event(1, "", "send", None, {"task": "shop.mail", "args": [], "kwargs": {}, **data}, None, AT)


def read_by_workers() -> set[str]:
    """Returns the names that Celery and kombu look up in headers, or in the request made from them."""
    names: set[str] = set()
    packages = (Path(celery.worker.__file__).parent, Path(kombu.__file__).parent / "transport")
    files = [file for package in packages for file in package.rglob("*.py")]
    files += [Path(celery.app.trace.__file__), Path(inspect.getfile(kombu.Message))]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Subscript(value=source, slice=ast.Constant(str(name))):
                    pass
                case ast.Call(func=ast.Attribute(value=source, attr="get" | "pop"), args=[ast.Constant(str(name)), *_]):
                    pass
                case _:
                    continue
            if re.search(r"(^|\.)(headers|_?request_dict)$", ast.unparse(source)):
                names.add(name)
    # Brokers that keep an order use this header. Workers don't read it.
    return names - {"MessageGroupId"}


def celerys_own() -> set[str]:
    app = Celery("own", set_as_current=False)
    message = app.amqp.as_task_v2("id", "name", (), {}, countdown=1, expires=1)
    return {name for name in dir(Context) if not name.startswith("_")} | set(message.headers) | read_by_workers()


def test_what_is_looked_for_is_found() -> None:
    assert {"task", "id", "get", "stamps", "compression", "shadow", "chain"} <= celerys_own()


def test_no_name_of_celerys_is_free() -> None:
    assert celerys_own() - RESERVED_HEADERS == set()


def test_the_database_refuses_the_same_names() -> None:
    text = TRIGGERS_SQL.read_text(encoding="utf-8")
    listed = re.search(r"reserved constant text\[\] :=\s+(.*?);", text, re.DOTALL)
    assert listed
    assert set("".join(re.findall(r"'([^']*)'", listed[1])).strip("{}").split(",")) == RESERVED_HEADERS


@pytest.mark.parametrize("name", [*sorted(RESERVED_HEADERS), "_children", "__class__", ""])
def test_a_header_that_is_celerys_is_refused_in_the_process(name: str) -> None:
    refusal = call_for(sent(options={"headers": {name: "shop.drop_everything"}}), SENDABLE)
    assert isinstance(refusal, Refusal)
    assert f'"{name}" is Celery\'s own' in refusal.reason
    targets = targets_of([("w", "shop.touch", f'{{"headers": {{"{name}": 1}}}}'), ("other", "t", "{}")], [])
    watched = Event(1, "w", "update", [1], None, None, AT)
    assert isinstance(call_for(watched, targets), Refusal)
    assert isinstance(call_for(Event(1, "other", "update", [1], None, None, AT), targets), Call)


def test_a_header_that_is_celerys_is_refused_in_the_database(conn: psycopg.Connection) -> None:
    conn.execute("select bridge.allow('shop.mail')")
    conn.execute("create table item (id int primary key)")
    for name in (*sorted(RESERVED_HEADERS), "_children", ""):
        options = Jsonb({"headers": {"tenant": 1, name: "shop.drop_everything"}})
        for call in ("bridge.send('shop.mail', options => %s)", "bridge.watch('item', 'item', 't', options => %s)"):
            with pytest.raises(psycopg.errors.InvalidParameterValue, match='option "headers" can\'t have'):
                conn.execute(f"select {call}".encode(), [options])
    free = Jsonb({"headers": {"tenant": 1, "Task": 2, "x-task": 3}})
    conn.execute("select bridge.send('shop.mail', options => %s)", [free])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"task": ["shop.mail"]}, "may not be sent"),
        ({"task": None}, "may not be sent"),
        ({"args": {"a": 1}}, "not a JSON array"),
        ({"args": "ab"}, "not a JSON array"),
        ({"kwargs": [1]}, "not a JSON object"),
        ({"options": []}, "options"),
        ({"options": None}, "options"),
        ({"options": {"link": "shop.other"}}, "unknown field `link`"),
        ({"options": {"chain": []}}, "unknown field `chain`"),
        ({"options": {"task_id": "1"}}, "unknown field"),
        ({"options": {"queue": 1}}, "queue"),
        ({"options": {"queue": ""}}, "queue"),
        ({"options": {"queue": "amq.gen-1"}}, "reserved"),
        ({"options": {"priority": 256}}, "priority"),
        ({"options": {"priority": True}}, "priority"),
        ({"options": {"countdown": "1"}}, "countdown"),
        ({"options": {"countdown": -1}}, "countdown"),
        ({"options": {"countdown": 10**400}}, "options"),
        ({"options": {"expires": 0}}, "expires"),
        ({"options": {"headers": [1]}}, "headers"),
        ({"options": {"headers": {"a": msgspec.json.decode("[" * 50 + "]" * 50)}}}, None),
    ],
    ids=str,
)
def test_options_of_rows_that_passed_by_the_database_are_checked_again(
    data: dict[str, Any], reason: str | None
) -> None:
    call = call_for(sent(**data), SENDABLE)
    assert isinstance(call, Call if reason is None else Refusal)
    assert reason is None or reason in getattr(call, "reason", "")


def test_every_option_that_the_database_knows_is_known_here() -> None:
    text = TRIGGERS_SQL.read_text(encoding="utf-8")
    listed = re.search(r"function bridge\._check_options.*?known constant text\[\] :=\s+'\{(.+?)\}'", text, re.DOTALL)
    assert listed
    names = "".join(re.split(r"'\s+'", listed[1])).split(",")
    values: dict[str, Any] = {
        "call": "event",
        "queue": "q",
        "priority": 3,
        "countdown": 1.5,
        "expires": 1,
        "headers": {},
    }
    values |= {"source": "x", "on_error": "warn", "own_writes": "ignore"}
    assert complaint({name: values.get(name, True) for name in names}) is None


@pytest.mark.anyio
async def test_a_watch_with_options_that_cannot_be_used_stops_no_other(
    database: Database, conn: psycopg.Connection
) -> None:
    """An older triggers.sql accepted such options, or somebody wrote them into the table."""
    conn.execute("create table item (id int primary key)")
    deep = "[" * 3000 + "]" * 3000
    for number, options in enumerate(('{"countdown": 1e5000}', f'{{"headers": {{"a": {deep}}}}}', "[]", "{}")):
        conn.execute(f"select bridge.watch('w{number}', 'item', 'shop.touch')".encode())
        conn.execute("update bridge.watch set options = %s::jsonb where name = %s", [options, f"w{number}"])
    async with EventLog.open(database.dsn, "default", 10) as log:
        _, targets = await log.targets()
    assert targets.watches == {"w3": Target("shop.touch", {})}
    assert set(targets.unusable) == {"w0", "w1", "w2"}
