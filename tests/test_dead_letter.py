"""Dead letters: looked at, tried again with the same task ids, dropped."""

from collections.abc import Iterator

import msgspec
import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg.types.json import Jsonb

from bridge.cli import cli
from bridge.dead_letter import CHUNK
from bridge.event_log import EventLog
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg18
from tests.inbox import Inbox, inbox

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def item(conn: psycopg.Connection) -> None:
    conn.execute("create table item (id int primary key)")
    conn.execute("select bridge.watch('item', 'item', 'shop.touch')")


def bury(conn: psycopg.Connection, *ids: int, watch: str = "item", failed_at: str = "now()") -> None:
    """Dead letters as the relay keeps them, for changes of item."""
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
    """Ids of the next batch, which counts as delivered."""
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
    assert "there is no dead letter 2" in missing.output


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
