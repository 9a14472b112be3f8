"""A message that `bridge.send_task` brings: it starts what is allowed and nothing else, also if the event is forged."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

import celery.canvas
import psycopg
import pytest
from celery import Celery, Signature, chain, chord, chunks, group, xmap, xstarmap
from celery.app.task import Context, Task

from bridge.call import Call, Refusal, Targets, call_for
from bridge.call_options import RESERVED_HEADERS
from bridge.canvas import _KINDS, _OPTIONS
from bridge.event import Event
from bridge.message import read
from tests.fix_postgres import Database

AT = datetime(2026, 11, 24, tzinfo=UTC)
ALLOWED = Targets(sendable=frozenset({"shop.mail", "shop.note"}))
EVIL = "shop.drop_everything"

app = Celery("canvas", set_as_current=False)


@app.task(name="shop.mail", shared=False)
def mail(*values: Any) -> None: ...


@app.task(name="shop.note", shared=False)
def note(*values: Any) -> None: ...


@app.task(name=EVIL, shared=False)
def evil(*values: Any) -> None: ...


def data(
    task: Any = "shop.mail", args: Any = (), kwargs: Any = None, embed: Any = None, **message: Any
) -> dict[str, Any]:
    """Returns the data of an event. Values that are not texts become JSON."""
    if embed is not None:
        message["embed"] = json.dumps(embed)
    if isinstance(message.get("headers"), dict):
        message["headers"] = json.dumps(message["headers"])
    args = args if isinstance(args, str) else json.dumps(list(args))
    return {"task": task, "args": args, "kwargs": json.dumps(kwargs or {}), "message": {"id": str(uuid4()), **message}}


def outcome(values: dict[str, Any]) -> str:
    """Returns the reason why an event with this data is refused, or an empty text."""
    call = call_for(Event(1, "", "send", None, values, None, AT), ALLOWED)
    return call.reason if isinstance(call, Refusal) else ""


def signature(task: Any = "shop.note", **parts: Any) -> dict[str, Any]:
    return {"task": task, "args": [], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False, **parts}


def test_the_message_is_made_from_what_was_read() -> None:
    values = data(
        args="[1, 1e16, -0.0]", kwargs={"b": "\0", "a": None}, headers={"tenant": 1}, eta="2026-11-24T00:00:00Z"
    )
    call = call_for(Event(7, "", "send", None, values, '{"user": 1}', AT), ALLOWED)
    assert isinstance(call, Call)
    assert call.message
    assert call.message.body() == (
        b'[[1,1e16,-0.0],{"b":"\\u0000","a":null},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]'
    )
    assert call.task_id == values["message"]["id"]
    assert call.headers["tenant"] == 1
    assert call.headers["bridge"]["context"] == {"user": 1}


def test_arguments_that_a_person_has_corrected_in_a_dead_letter_are_used() -> None:
    message = read({**data(), "args": [1, {"a": None}], "kwargs": {"b": 2}})
    assert (message.args, message.kwargs) == ([1, {"a": None}], {"b": 2})


def test_its_headers_are_those_of_celerys_protocol() -> None:
    ours = read(data()).fields()
    theirs = app.amqp.as_task_v2(ours["id"], "shop.mail", (), {}).headers
    assert ours.keys() == theirs.keys()
    varying = {"argsrepr", "kwargsrepr", "origin"}
    assert {name: value for name, value in ours.items() if name not in varying} == {
        name: value for name, value in theirs.items() if name not in varying
    }


NOTE: Any = note
PLACES = ["callbacks", "errbacks", "chain", "chord"]
SHAPES: dict[str, Callable[[Any], Any]] = {
    "alone": lambda sig: sig,
    "in a list": lambda sig: [sig],
    "in a chain": lambda sig: chain(note.s(), sig),
    "in a group": lambda sig: group(note.s(), sig),
    "in a chord's header": lambda sig: chord([note.s(), sig], note.s()),
    "in a chord's body": lambda sig: chord([note.s()], sig),
    "in a map": lambda sig: xmap(sig, [1]),
    "in a starmap": lambda sig: xstarmap(sig, [[1]]),
    "in chunks": lambda sig: chunks(sig, [[1]], 1),
    "linked": lambda sig: NOTE.s().set(link=[sig]),
    "linked to an error": lambda sig: NOTE.s().set(link_error=sig),
    "in an option": lambda sig: NOTE.s().set(chord=sig),
    "in the option chain": lambda sig: NOTE.s().set(chain=[sig]),
    "deep inside": lambda sig: chain(
        note.s(), group(note.s(), chain(note.s(), chord([NOTE.s().set(link=sig)], note.s())))
    ),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_signature_that_celery_makes_is_read_and_one_that_is_not_allowed_is_found(shape: str, place: str) -> None:
    made = SHAPES[shape]
    assert outcome(data(embed={place: made(note.s(1))})) == ""
    assert outcome(data(embed={place: made(evil.s(1))})) == (
        f'task "{EVIL}" may not be sent; to allow it, run select bridge.allow(...)'
    )


@pytest.mark.parametrize("task", ["celery.map", "celery.starmap"])
def test_a_task_of_celerys_is_allowed_for_what_it_calls(task: str) -> None:
    assert outcome(data(task, kwargs={"task": signature(), "it": [1]})) == ""
    for called in (signature(EVIL), EVIL):
        assert outcome(data(task, kwargs={"task": called, "it": [1]}))
    assert outcome(data(task, args=[signature(), [1]])), "positional arguments are not what Celery sends"
    assert outcome(data(task, kwargs={"task": signature(), "it": [1], "app": 1}))


def test_the_unlocking_of_a_chord_is_allowed_for_its_body() -> None:
    result: dict[str, Any] = {"interval": None, "max_retries": None, "result": []}
    assert outcome(data("celery.chord_unlock", [str(uuid4()), signature()], result)) == ""
    assert EVIL in outcome(data("celery.chord_unlock", [str(uuid4()), signature(EVIL)], result))
    assert outcome(data("celery.chord_unlock", [str(uuid4())], {**result, "callback": signature(EVIL)}))


@pytest.mark.parametrize("task", ["celery.group", "celery.chord", "celery.chain", "celery.backend_cleanup", "celery.x"])
def test_other_tasks_of_celerys_are_not_allowed_by_themselves(task: str) -> None:
    assert outcome(data(task, [[signature(EVIL)], None, str(uuid4()), []]))
    assert outcome(data(embed={"callbacks": [signature(task, args=[[signature(EVIL)], None, "g", []])]}))


FORGED: dict[str, dict[str, Any]] = {
    "another task": data(EVIL),
    "no task": data(None),
    "a list for a task": data(["shop.mail"]),
    "a marker for a task": data({"__type__": "bytes", "__value__": EVIL}),
    "args that end the body": data(args='[]], [{"chain": []}'),
    "args that are two values": data(args='[], {}, {"chain": [{"task": "shop.drop_everything"}]}'),
    "args that are an object": data(args="{}"),
    "args that are a marker": data(args='{"__type__": "decimal", "__value__": "1"}'),
    "args that are not JSON": data(args="[NaN]"),
    "args too deep": data(args="[" * 300 + "]" * 300),
    "args far too deep": data(args="[" * 100_000),
    "args that are an object of jsonb": {**data(), "args": {"a": 1}},
    "kwargs that are a list of jsonb": {**data(), "kwargs": [1]},
    "no args": {name: value for name, value in data().items() if name != "args"},
    "kwargs that are a list": {**data(), "kwargs": "[]"},
    "no message": {**data(), "message": None},
    "a message that is a text": {**data(), "message": "x"},
    "an unknown field": data(task_id="x"),
    "a field that would be a header": data(stamps={"a": 1}),
    "an unknown callback": data(embed={"callbacks": None, "other": [signature(EVIL)]}),
    "a callback that is a text": data(embed={"callbacks": [EVIL]}),
    "a callback that is a number": data(embed={"chord": 1}),
    "an embed that is a list": data(embed=[signature(EVIL)]),
    "a signature with an unknown key": data(embed={"chain": [signature(type=EVIL)]}),
    "a signature of an unknown kind": data(embed={"chain": [signature(subtask_type="evil")]}),
    "a signature of a false kind": data(embed={"chain": [signature(subtask_type=False)]}),
    "a kind with another task": data(embed={"chain": [signature(EVIL, subtask_type="group", kwargs={"tasks": []})]}),
    "an allowed task of a kind": data(
        embed={"chain": [signature(subtask_type="chord", kwargs={"body": signature(EVIL)})]}
    ),
    "a group with more": data(
        embed={"chain": [signature("celery.group", subtask_type="group", kwargs={"tasks": [], "x": signature(EVIL)})]}
    ),
    "a chain of texts": data(
        embed={"chain": [signature("celery.chain", subtask_type="chain", kwargs={"tasks": [EVIL]})]}
    ),
    "a map of a text": data(
        embed={"chain": [signature("celery.map", subtask_type="xmap", kwargs={"task": EVIL, "it": []})]}
    ),
    "options that are a list": data(embed={"chain": [signature(options=[])]}),
    "an unknown option": data(embed={"chain": [signature(options={"producer": 1})]}),
    "an option that names the task": data(embed={"chain": [signature(options={"name": EVIL})]}),
    "an option that names the type": data(embed={"chain": [signature(options={"task_type": EVIL})]}),
    "stamps": data(embed={"chain": [signature(options={"stamped_headers": ["task"], "task": EVIL})]}),
    "pickle": data(embed={"chain": [signature(options={"serializer": "pickle"})]}),
    "a reserved queue": data(queue="amq.gen-1"),
    "a reserved exchange": data(exchange="celery.pidbox"),
    "the replies of the remote control": data(exchange="reply.celery.pidbox"),
    "the exchange of events": data(exchange="celeryev"),
    "a reserved exchange in a signature": data(embed={"chain": [signature(options={"exchange": "celery.pidbox"})]}),
    "an empty queue": data(queue=""),
    "the id of an event": data(id=str(uuid5(NAMESPACE_URL, "x"))),
    "the id of an event, written otherwise": data(id=uuid5(NAMESPACE_URL, "x").hex.upper()),
    "the id of an event in a callback": data(
        embed={"callbacks": [signature(options={"task_id": str(uuid5(NAMESPACE_URL, "x"))})]}
    ),
    "an id that ends its text": data(id='x", "task": "shop.drop_everything'),
    "an empty id": data(id=""),
    "a long id": data(id="x" * 156),
    "a root that ends its text": data(root_id='"'),
    "a time without a zone": data(eta="2026-11-24T00:00:00"),
    "a time that is none": data(eta="tomorrow"),
    "a priority out of range": data(priority=256),
    "negative retries": data(retries=-1),
    "a limit that is none": data(timelimit=["x", None]),
    "headers that are a list": data(headers="[]"),
    "headers that are not JSON": data(headers="{"),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_a_forged_message_starts_nothing(forgery: str) -> None:
    reason = outcome(FORGED[forgery])
    assert reason
    assert "\n" not in reason


@pytest.mark.parametrize("name", [*sorted(RESERVED_HEADERS), "_children", "__type__", ""])
def test_no_header_replaces_one_of_celerys(name: str) -> None:
    assert "is Celery's own" in outcome(data(headers={name: EVIL}))
    linked = data(embed={"callbacks": [signature(options={"headers": {name: EVIL}})]})
    assert "is Celery's own" in outcome(linked)


def test_no_option_that_is_sent_names_a_task_or_is_a_stranger() -> None:
    """Celery calls `send_task(name, ..., **options)`, so an option may not be one of its other parameters."""
    assert not _OPTIONS & {"name", "task", "task_type", "args", "kwargs", "producer", "connection", "router", "app"}
    kinds = {kind: celery.canvas.Signature.TYPES[kind] for kind in celery.canvas.Signature.TYPES}
    assert kinds.keys() == _KINDS.keys(), "a newer Celery has other kinds of signatures"


def test_what_a_worker_makes_of_the_message_is_the_task_that_was_checked() -> None:
    """The header `bridge` and the sender's own come before Celery's, so nothing replaces those."""
    call = call_for(Event(1, "", "send", None, data(headers={"Task": EVIL}), None, AT), ALLOWED)
    assert isinstance(call, Call)
    assert call.message
    request: Any = Context({**call.headers, **call.message.fields()})
    assert request.task == "shop.mail"
    assert request.headers is not None
    assert set(request.headers) >= {"bridge", "Task"}
    assert isinstance(mail, Task)
    assert isinstance(Signature.from_dict(signature()), Signature)


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ("'shop.late', '[]', '{}', '{}'", 'task "shop.late" may not be sent'),
        ("'shop.mail', '[]', '{}', '{}', '{shop.note,shop.late}'", 'task "shop.late" may not be sent'),
        ("null, '[]', '{}', '{}'", "may not be sent"),
        ("'shop.mail', null, '{}', '{}'", "must be JSON texts"),
        ("'shop.mail', '[]', '{}', '[]'", "must be JSON texts"),
        ("'shop.mail', '[]', '{}', null", "must be JSON texts"),
        ("'shop.mail', '[]', '{}', '{}', '{}', 'nowhere'", 'there is no stream "nowhere"'),
    ],
)
def test_the_database_refuses_what_it_can_see(conn: psycopg.Connection, parameters: str, complaint: str) -> None:
    conn.execute("select bridge.allow('shop.mail'), bridge.allow('shop.note')")
    with pytest.raises(psycopg.Error, match=complaint):
        conn.execute(f"select bridge.send_task({parameters})".encode())


def test_an_older_bridge_makes_a_dead_letter_of_it(conn: psycopg.Connection) -> None:
    """It does not know messages. Without this it would start the task without its arguments."""
    conn.execute("select bridge.allow('shop.mail')")
    conn.execute("select bridge.send_task('shop.mail', '[1]', '{}', '{}')")
    [(values,)] = conn.execute("select data from bridge.event").fetchall()
    assert not isinstance(values["args"], list)
    assert not isinstance(values["kwargs"], dict)


def allowed(conn: psycopg.Connection) -> dict[str, str | None]:
    return dict(conn.execute("select task, source from bridge.sendable").fetchall())


def test_a_source_allows_exactly_its_tasks_and_what_a_person_allowed_stays(
    database: Database, conn: psycopg.Connection
) -> None:
    conn.execute("select bridge.allow('by.hand'), bridge.allow('other', 'flask')")
    only = "select action, task from bridge.allow_only(%s, 'django')"
    assert conn.execute(only, [["a", "b", "by.hand"]]).fetchall() == [("allow", "a"), ("allow", "b")]
    assert conn.execute(only, [["b", "c", "c", "other"]]).fetchall() == [("disallow", "a"), ("allow", "c")]
    assert allowed(conn) == {"by.hand": None, "other": "flask", "b": "django", "c": "django"}
    conn.execute("select bridge.allow('b'), bridge.allow('by.hand', 'django')")
    assert conn.execute(only, [[]]).fetchall() == [("disallow", "c")]
    assert allowed(conn) == {"by.hand": None, "other": "flask", "b": None}
    assert conn.execute("select bridge.disallow('other', 'django'), bridge.disallow('other')").fetchone() == (
        False,
        True,
    )


def test_nothing_is_written_where_nothing_changes(conn: psycopg.Connection) -> None:
    only = "select * from bridge.allow_only('{a,b}', 'django')"
    conn.execute(only)
    before = conn.execute("select generation from bridge.installation").fetchone()
    assert conn.execute(only).fetchall() == []
    assert conn.execute("select generation from bridge.installation").fetchone() == before


@pytest.mark.parametrize("parameters", ["null, 'x'", "'{}', null", "'{a b}', 'x'", "'{null}', 'x'"])
def test_wrong_allowances_are_one_clear_error(conn: psycopg.Connection, parameters: str) -> None:
    with pytest.raises(psycopg.Error):
        conn.execute(f"select bridge.allow_only({parameters})".encode())
