"""Dead letters can be listed, retried with their original task ids, and dropped."""

from collections.abc import Iterator

import anyio.to_thread
import msgspec
import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg.types.json import Jsonb

import bridge.reason
from bridge.call import Call, Refusal, call_for
from bridge.cli.main import cli
from bridge.database.connect import connect
from bridge.flow.coalesce import coalesce
from bridge.operations import streams
from bridge.operations.dead_letter import CHUNK
from bridge.stream.event_log import EventLog
from tests.celery_queue import Inbox, inbox
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg18

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def item(conn: psycopg.Connection) -> None:
    conn.execute("create table item (id int primary key)")
    conn.execute("select bridge.watch('item', 'item', 'shop.touch')")


def bury(conn: psycopg.Connection, *ids: int, watch: str = "item", failed_at: str = "now()") -> None:
    """Writes dead letters for changes of item, as the relay does."""
    conn.execute(
        "insert into bridge.dead_letter (id, stream, watch, op, key, at, reason, failed_at) "
        f"select n, 'default', %s, 'insert', jsonb_build_array(n), '2026-01-01', 'because', {failed_at} "
        "from unnest(%s::bigint[]) n".encode(),
        [watch, list(ids)],
    )


def kept(conn: psycopg.Connection) -> list[int]:
    return [row[0] for row in conn.execute("select id from bridge.dead_letter order by id")]


def run(database: Database, *arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(cli, ["dead-letters", *arguments, "--database-url", database.dsn], input=stdin)


async def deliver(log: EventLog) -> list[int]:
    """Returns the ids of the next batch, which then counts as delivered."""
    batch = await log.read()
    await log.move(batch.position)
    return [event.id for event in batch.events]


async def test_a_retried_event_is_in_the_next_window_as_it_was(database: Database, conn: psycopg.Connection) -> None:
    bury(conn, 7, 8)
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        assert conn.execute("select bridge.retry(array[7])").fetchone() == (1,)
        [event] = (await log.read()).events
        assert (event.id, event.key, event.at.isoformat()) == (7, [7], "2026-01-01T00:00:00+00:00")
    assert kept(conn) == [8]


async def test_a_retry_in_the_middle_of_a_walk_comes_after_it(database: Database, conn: psycopg.Connection) -> None:
    conn.execute("insert into item select n from generate_series(1, 5) n")
    [first, *_] = [row[0] for row in conn.execute("select id from bridge.event order by id")]
    bury(conn, first - 1)
    async with EventLog.open(database.dsn, "default", 2) as log:
        await log.own()
        walked = await deliver(log)
        conn.execute("select bridge.retry(since => '-infinity')")
        while batch := await deliver(log):
            walked += batch
    assert walked == [first, first + 1, first + 2, first + 3, first + 4, first - 1]


async def test_a_retry_wakes_a_sleeping_relay(database: Database, conn: psycopg.Connection) -> None:
    bury(conn, 7)
    with database.connect() as sleeper:
        sleeper.execute('listen "bridge:default"')
        sleeper.execute("select pg_advisory_lock(sleep_key) from bridge.stream")
        conn.execute("select bridge.retry(array[7])")
        [notice] = sleeper.notifies(timeout=5, stop_after=1)
        assert notice.channel == "bridge:default"


@pytest.mark.parametrize("foreign", ["cluster = 1", "seen = '1000000000:1000000000:'"])
async def test_before_a_restored_stream_is_served_nothing_is_retried(conn: psycopg.Connection, foreign: str) -> None:
    bury(conn, 7)
    conn.execute(f"update bridge.position set {foreign}".encode())
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="start the bridge first"):
        conn.execute("select bridge.retry(array[7])")
    assert kept(conn) == [7]


@pytest.mark.parametrize("function", ["retry", "discard"])
def test_a_person_says_which(conn: psycopg.Connection, function: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="say which dead letters"):
        conn.execute(f"select bridge.{function}()".encode())


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        ("ids => '{2,3}'", [1, 4]),
        ("watch => 'other'", [1, 2, 3]),
        ("since => '2026-06-01'", [1]),
        ("until => '2026-06-01'", [2, 3, 4]),
        ("stream => 'default', at_most => 3", [4]),
        ("stream => 'elsewhere'", [1, 2, 3, 4]),
        ("ids => '{2,4}', watch => 'item'", [1, 3, 4]),
    ],
)
def test_conditions_choose(conn: psycopg.Connection, condition: str, left: list[int]) -> None:
    bury(conn, 1, failed_at="'2026-01-02'")
    bury(conn, 2, 3)
    bury(conn, 4, watch="other")
    conn.execute(f"select bridge.discard({condition})".encode())
    assert kept(conn) == left


def test_the_list_shows_reasons(database: Database, conn: psycopg.Connection) -> None:
    assert "0 dead letters." in run(database, "list").stdout
    bury(conn, 1, 2, 3)
    shown = run(database, "list", "--id", "1", "--id", "3").stdout
    assert "because" in shown
    assert "2 dead letters." in shown
    [first, *_] = msgspec.json.decode(run(database, "list", "--json").stdout)
    assert (first["id"], first["key"], first["reason"]) == (1, [1], "because")


def test_one_is_shown_whole(database: Database, conn: psycopg.Connection) -> None:
    bury(conn, 1)
    assert msgspec.json.decode(run(database, "show", "1").stdout)["op"] == "insert"
    missing = run(database, "show", "2")
    assert "dead letter 2 does not exist" in missing.output


def test_discarding_asks_first(database: Database, conn: psycopg.Connection) -> None:
    bury(conn, 1, 2)
    assert "Delete 2 dead letters" in run(database, "discard", "--all", stdin="n\n").stdout
    assert kept(conn) == [1, 2]
    assert run(database, "discard", "--watch", "item", "--yes").stdout == "2 deleted.\n"
    assert kept(conn) == []


def test_nothing_said_is_a_question_not_all(database: Database, conn: psycopg.Connection) -> None:
    bury(conn, 1)
    assert "--all" in run(database, "retry").output
    assert kept(conn) == [1]


def test_a_time_that_is_none_is_refused(database: Database) -> None:
    assert "2026-11-24T18:30" in run(database, "list", "--since", "yesterday").output


def test_many_are_retried_in_chunks(database: Database, conn: psycopg.Connection) -> None:
    bury(conn, *range(1, 2 * CHUNK + 2))
    assert run(database, "retry", "--all").stdout == f"{2 * CHUNK + 1} put back into the log.\n"
    assert kept(conn) == []
    assert conn.execute("select count(distinct id), count(distinct xid) from bridge.event").fetchone() == (2001, 3)


async def refuse_all(database: Database, reason: str) -> None:
    """Refuses all events, like a relay that can publish nothing."""
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        while (batch := await log.read()).events:
            await log.bury([Refusal(event, reason) for event in batch.events])
            await log.move(batch.position)
        await log.finish()


async def test_an_event_that_is_refused_again_is_one_dead_letter_with_the_newer_reason(
    database: Database, conn: psycopg.Connection
) -> None:
    conn.execute("insert into item values (1)")
    for reason in ("first", "second"):
        conn.execute("update bridge.position set seen = '3:3:'")
        await refuse_all(database, reason)
    assert conn.execute("select key, reason from bridge.dead_letter").fetchall() == [([1], "second")]


async def test_an_event_that_is_twice_in_a_batch_is_one_dead_letter(
    database: Database, conn: psycopg.Connection
) -> None:
    """A relay died after it buried the event and before it moved. After a retry the event is read twice."""
    conn.execute("insert into item values (1)")
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        await log.bury([Refusal(event, "first") for event in (await log.read()).events])
    assert conn.execute("select bridge.retry(watch => 'item')").fetchone() == (1,)
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        assert len((await log.read()).events) == 2
    await refuse_all(database, "again")
    assert conn.execute("select key, reason from bridge.dead_letter").fetchall() == [([1], "again")]
    assert conn.execute("select bridge.retry(watch => 'item')").fetchone() == (1,)


async def test_two_events_with_one_id_are_two_dead_letters_and_both_are_retried(
    database: Database, conn: psycopg.Connection
) -> None:
    """A sequence that goes back in a failover causes this."""
    conn.execute("insert into item values (1)")
    conn.execute("select setval('bridge.event_id', 1, false)")
    conn.execute("insert into item values (2)")
    await refuse_all(database, "because")
    assert conn.execute("select id, key from bridge.dead_letter order by id, at").fetchall() == [(1, [1]), (1, [2])]
    shown = await anyio.to_thread.run_sync(run, database, "show", "1")
    assert [letter["key"] for letter in decoded(shown.stdout)] == [[1], [2]]
    retried = await anyio.to_thread.run_sync(run, database, "retry", "--id", "1")
    assert retried.stdout == "2 put back into the log.\n"
    assert conn.execute("select key from bridge.waiting order by key").fetchall() == [([1],), ([2],)]


def decoded(text: str) -> list[dict[str, object]]:
    return [msgspec.json.decode(f"{one}}}") for one in text.split("\n}")[:-1]]


_DEEP = "[" * 3000 + "]" * 3000


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("data", '{"new": ' + _DEEP + "}"),
        ("data", '{"new": 1e5000}'),
        ("data", '{"new": [1' + 400 * "0" + ".5]}"),
        ("data", "7"),
        ("key", '{"a": 1}'),
        ("key", _DEEP),
        ("at", "infinity"),
        ("at", "0044-03-15 BC"),
        ("at", "12000-01-01"),
    ],
    ids=str,
)
async def test_what_python_cannot_read_is_kept_as_it_is(
    database: Database, conn: psycopg.Connection, column: str, text: str
) -> None:
    values = {"key": "[1]", "data": "{}", "at": "2026-01-01"} | {column: text}
    conn.execute(
        "insert into bridge.event (stream, watch, op, key, data, at) values ('default', 'item', 'insert', %s, %s, %s)",
        [values["key"], values["data"], values["at"]],
    )
    conn.execute("insert into item values (7)")
    before = conn.execute("select id, watch, op, key::text, data::text, at::text from bridge.event order by id limit 1")
    written = before.fetchall()
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        batch = await log.read()
        flawed, healthy = batch.events
        assert flawed.flaw is not None
        assert (healthy.flaw, healthy.key) == (None, [7])
        await log.bury([Refusal(flawed, flawed.flaw)])
        await log.move(batch.position)
    letters = conn.execute("select id, watch, op, key::text, data::text, at::text from bridge.dead_letter")
    assert letters.fetchall() == written
    for command in (["list"], ["list", "--json"], ["show", str(written[0][0])]):
        assert (await anyio.to_thread.run_sync(run, database, *command)).exit_code == 0
    assert conn.execute("select bridge.retry(since => '-infinity')").fetchone() == (1,)
    again = conn.execute("select id, watch, op, key::text, data::text, at::text from bridge.waiting").fetchall()
    assert again == written


async def test_all_events_that_a_refused_task_stands_for_are_kept(database: Database, conn: psycopg.Connection) -> None:
    conn.execute("select bridge.watch('item', 'item', 'shop.touch', options => '{\"coalesce\": true}')")
    conn.execute("insert into item values (1), (2)")
    conn.execute("delete from item where id = 1")
    async with EventLog.open(database.dsn, "default", 100) as log:
        await log.own()
        _, targets = await log.targets()
        batch = await log.read()
        _, one = coalesce(batch.events, targets)
        call = call_for(one, targets)
        await log.bury([Refusal(one, "because")])
        await log.move(batch.position)
        assert conn.execute("select op, key from bridge.dead_letter order by id").fetchall() == [
            ("insert", [1]),
            ("delete", [1]),
        ]
        conn.execute("select bridge.retry(since => '-infinity')")
        [again] = coalesce((await log.read()).events, targets)
    retried = call_for(again, targets)
    assert isinstance(call, Call)
    assert isinstance(retried, Call)
    assert retried.task_id == call.task_id


async def test_a_reason_is_kept_whatever_it_says(database: Database, conn: psycopg.Connection) -> None:
    conn.execute("insert into item values (1)")
    await refuse_all(database, "nul \0, half a character \ud800, a line\nand " + "more " * 1000)
    [(reason,)] = conn.execute("select reason from bridge.dead_letter").fetchall()
    assert reason.startswith("nul \\0, half a character \\ud800, a line and more")
    assert len(reason) == 1000


def test_a_watch_name_of_any_length_can_be_kept(conn: psycopg.Connection) -> None:
    conn.execute(
        "insert into bridge.event (id, stream, watch, op, at) "
        "select 1, 'default', string_agg(md5(n::text), ''), 'insert', '2026-01-01' from generate_series(1, 10000) n"
    )
    bury = "select bridge.bury('default', '{1}', '{2026-01-01}', array(select xid from bridge.event), '{because}')"
    assert conn.execute(bury).fetchone() == (1,)


def test_dead_letters_can_be_written_under_a_publication_for_all_tables(conn: psycopg.Connection) -> None:
    """PostgreSQL refuses updates and deletes of a published table without a replica identity."""
    conn.execute("create publication everything for all tables")
    conn.execute("insert into item values (1)")
    bury = "select bridge.bury('default', array[id], array[at], array[xid], '{because}') from bridge.event"
    assert conn.execute(bury).fetchone() == (1,)
    assert conn.execute(bury).fetchone() == (1,)
    assert conn.execute("select bridge.retry(watch => 'item')").fetchone() == (1,)
    conn.execute(bury.replace("bridge.event", "bridge.event limit 1"))
    assert conn.execute("select bridge.discard(watch => 'item')").fetchone() == (1,)


@pytest.mark.parametrize("rows", [0, 1, 50_000])
def test_events_to_bury_are_found_through_the_index(conn: psycopg.Connection, rows: int) -> None:
    conn.execute("insert into item select n from generate_series(1, %s) n", [rows])
    [(body, settings)] = conn.execute(
        "select prosrc, proconfig from pg_proc where oid = 'bridge.bury'::regproc"
    ).fetchall()
    for setting in settings:
        name, _, value = setting.partition("=")
        conn.execute("select set_config(%s, %s, false)", [name, value])
    names = {"bury.stream": "$1", "unnest(ids, ats, xids, reasons)": "unnest($2, $3, $4, $5)"}
    for name, parameter in names.items():
        assert name in body
        body = body.replace(name, parameter)
    conn.execute(f"prepare bury (text, bigint[], timestamptz[], xid8[], text[]) as {body}".encode())
    conn.execute("set plan_cache_mode = force_generic_plan")
    many = "array_fill(1::bigint, '{5000}'), array_fill(now(), '{5000}'), array_fill('1'::xid8, '{5000}'), '{}'"
    plan = "\n".join(row[0] for row in conn.execute(f"explain execute bury ('default', {many})".encode()))
    assert "Seq Scan on event" not in plan
    assert "event_0_lane_stream_xid_idx" in plan
    assert "xid = " in plan.partition("event_0_lane_stream_xid_idx")[2].partition("event_1")[0]
    joined = plan.partition("CTE written")[0]
    assert joined.count("Nested Loop") == 1, "only the join with the transactions may be a nested loop"


def test_many_events_of_one_transaction_are_buried_in_seconds(conn: psycopg.Connection) -> None:
    conn.execute("insert into item select n from generate_series(1, 50000) n")
    conn.execute("set statement_timeout = '20s'")
    bury = "select bridge.bury('default', array_agg(id), array_agg(at), array_agg(xid), array_agg('because'::text))"
    assert conn.execute(f"{bury} from (select * from bridge.event limit 10000) e".encode()).fetchone() == (10000,)


@pytest.mark.parametrize("at", ["infinity", "-infinity", "4713-01-01 BC", "294276-01-01"])
async def test_a_time_that_python_cannot_say_stops_no_count(
    database: Database, conn: psycopg.Connection, at: str
) -> None:
    for time in (at, "now"):
        conn.execute(
            "insert into bridge.event (stream, watch, op, at) values ('default', 'item', 'truncate', %s)", [time]
        )
    async with connect(database.dsn, "catalog") as connection:
        [(_, waiting, oldest)] = await streams.waiting(connection, ["default"])
        assert (waiting, oldest is not None) == (2, True)
        assert [status.waiting for status in await streams.status(connection)] == [2]


@pytest.fixture
def received(broker: Broker) -> Iterator[Inbox]:
    with inbox(broker) as opened:
        yield opened


@on_pg18
def test_what_was_not_allowed_is_delivered_after_allow_and_retry(
    database: Database, conn: psycopg.Connection, broker: Broker, received: Inbox, run_bridge: Bridges
) -> None:
    conn.execute("select bridge.allow('shop.mail')")
    queue = Jsonb({"queue": broker.queue})
    conn.execute("select bridge.watch('item', 'item', 'shop.touch', options => %s)", [queue])
    conn.execute("select bridge.send('shop.mail', '[42]', options => %s)", [queue])
    conn.execute("select bridge.disallow('shop.mail')")
    bridge = run_bridge(database.dsn, broker_url=broker.url)
    conn.execute("insert into item values (1)")
    assert [task.name for task in received.take(1)] == ["shop.touch"]
    assert eventually(lambda: len(kept(conn)) == 1, 10)
    [(reason,)] = conn.execute("select reason from bridge.dead_letter").fetchall()
    assert "bridge.allow" in reason
    conn.execute("select bridge.allow('shop.mail')")
    assert run(database, "retry", "--all").stdout == "1 put back into the log.\n"
    [task] = received.take(1)
    assert (task.name, task.args) == ("shop.mail", [42])
    assert bridge.stop() == 0
    assert kept(conn) == []


@on_pg18
def test_the_list_shows_whatever_stands_in_a_dead_letter(database: Database, conn: psycopg.Connection) -> None:
    """The key's values and parts of the reason come from an application and must not act as markup or control."""
    for number, text in enumerate(["[/b]", "[red]red[/red]", "[link=http://h]", "\x1b[2J", "\x9b2J", "\x07", "]["]):
        conn.execute(
            "insert into bridge.dead_letter (id, stream, watch, op, key, at, reason) "
            "values (%s, 'default', %s, %s, jsonb_build_array(%s::text), now(), %s)",
            [number, text, text, text, f"it says {text}"],
        )
    done = run(database, "list")
    assert (done.exit_code, done.exception) == (0, None)
    assert done.output.count("[/b]") == done.output.count("[link=http://h]") == 4
    assert not {"\x1b", "\x9b", "\x07"} & set(done.output)


def test_a_reason_has_nothing_in_it_that_a_terminal_obeys() -> None:
    assert (
        bridge.reason.kept("the queue \x1b[2J\x9b2J\u202e is\nnot\0there")
        == r"the queue \x1b[2J\x9b2J\u202e is not\0there"
    )
