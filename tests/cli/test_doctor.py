"""`bridge doctor` finds what is wrong between the watches, the workers and the queues, and names what mends it."""

import json
import socket
from collections.abc import Mapping

import psycopg
import pytest
from celery.app.control import Control
from psycopg.types.json import Jsonb

from bridge.call import Target
from bridge.operations.doctor import of_workers
from bridge.publisher.workers import Workers, ask
from tests.cli.command import SECRET, Command
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg18
from tests.fix_worker import working
from tools.servers.port import free_port

WATCH = {"reprice": Target("shop.tasks.reprice", {})}


def asked(tasks: Mapping[str, set[str]], queues: Mapping[str, set[str]], route: str = "celery") -> Workers:
    return Workers(
        tasks={worker: frozenset(names) for worker, names in tasks.items()},
        queues={worker: frozenset(names) for worker, names in queues.items()},
        routes={"reprice": route},
        command=("celery", "-A", "shop", "worker"),
    )


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        (asked({}, {}), "no worker answers, so tasks wait in their queues; start one: celery -A shop worker"),
        (
            asked({"w1": {"shop.tasks.reprice"}}, {"w1": {"celery"}}, route="slow"),
            'no worker reads its queue "slow", so its tasks pile up there; start one: celery -A shop worker -Q slow -n',
        ),
        (
            asked({"w1": {"shop.tasks.reprice"}}, {"w1": {"celery"}}, route="Odd $queue"),
            "start one: celery -A shop worker -Q 'Odd $queue' -n worker2@%h",
        ),
        (
            asked({"w1": {"shop.tasks.repriced"}}, {"w1": {"celery"}}),
            'knows its task "shop.tasks.reprice", so workers discard it (did you mean "shop.tasks.repriced"?)',
        ),
        (
            asked({"w1": {"shop.tasks.reprice"}, "w2": set()}, {"w1": {"celery"}, "w2": {"celery"}}),
            'worker w2 reads the queue "celery", but does not know the task "shop.tasks.reprice" and discards it',
        ),
    ],
)
def test_findings_about_workers(workers: Workers, said: str) -> None:
    [finding] = of_workers(WATCH, workers)
    assert said in finding


def test_a_worker_of_another_queue_need_not_know_the_task() -> None:
    workers = asked({"w1": {"shop.tasks.reprice"}, "w2": set()}, {"w1": {"celery"}, "w2": {"mail"}})
    assert of_workers(WATCH, workers) == []


@on_pg18
def test_doctor_asks_the_running_workers(
    bridge: Command, conn: psycopg.Connection, valkey: Broker, run_bridge: Bridges
) -> None:
    conn.execute("create table product (id int primary key, price int)")
    watch = "select bridge.watch(%s, 'product', %s, options => %s)"
    mine = Jsonb({"queue": valkey.queue})
    conn.execute(watch, ["reprice", "shop.tasks.reprice", mine])
    run_bridge(conn.info.dsn, broker_url=valkey.url)
    call = ("doctor", "--database-url", conn.info.dsn, "--broker-url", valkey.url)
    assert "no worker answers" in bridge(*call).out
    with working(valkey, SHOP_CONTROL="1"):
        done = bridge(*call)
        assert (done.code, done.out) == (0, "Nothing is wrong. 1 streams, 1 watches; workers: 1 answered.\n")
        conn.execute(watch, ["typo", "shop.tasks.repric", mine])
        conn.execute(watch, ["nobody", "shop.tasks.reprice", Jsonb({"queue": "nobody-reads-this"})])
        done = bridge(*call, "--json")
        assert done.code == 1
        nobody, typo = json.loads(done.out)
        assert 'watch "nobody": no worker reads its queue "nobody-reads-this"' in nobody
        assert 'watch "typo": no worker knows its task "shop.tasks.repric"' in typo
        assert 'did you mean "shop.tasks.reprice"?' in typo
        # `bridge status` shows the findings too.
        assert nobody in bridge("status", *call[1:]).out


@on_pg18
def test_a_broker_that_is_away_is_a_finding_and_shows_no_password(bridge: Command, database: Database) -> None:
    url = f"redis://:{SECRET}@127.0.0.1:{free_port()}/0"
    done = bridge("doctor", "--database-url", database.dsn, "--broker-url", url)
    assert done.code == 1
    assert "! the workers can't be asked: " in done.out
    assert "refused" in done.out.lower()
    assert SECRET not in done.out + done.err


@on_pg18
def test_a_broker_that_never_answers_is_a_finding(bridge: Command, database: Database) -> None:
    """A firewall drops packets, or a server without TLS gets an address with rediss://."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"redis://127.0.0.1:{mute.getsockname()[1]}/0"
        done = bridge("doctor", "--database-url", database.dsn, "--broker-url", url)
    assert done.code == 1
    assert "! the workers can't be asked: " in done.out


def test_workers_of_one_name_hide_no_queue_of_each_other(valkey: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of two projects on one machine and broker have one name, unless it is given with -n."""
    answers = {
        "registered": [{"celery@vm": ["shop.tasks.reprice"]}, {"celery@vm": ["blog.tasks.mail [rate_limit=1/m]"]}],
        "active_queues": [{"celery@vm": [{"name": "shop"}]}, {"celery@vm": [{"name": "blog"}]}],
    }
    monkeypatch.setattr(Control, "broadcast", lambda _control, command, **_options: answers[command])
    workers = ask(WATCH, valkey.url, None)
    assert workers
    assert workers.queues == {"celery@vm": {"shop", "blog"}}
    assert workers.tasks == {"celery@vm": {"shop.tasks.reprice", "blog.tasks.mail"}}


@on_pg18
def test_without_a_broker_no_worker_is_asked(bridge: Command, database: Database) -> None:
    done = bridge("doctor", "--database-url", database.dsn)
    assert done.out == "Nothing is wrong. 1 streams, 0 watches; workers: not asked: give --app or --broker-url.\n"


@on_pg18
def test_a_row_that_changes_again_and_again_is_a_finding(
    bridge: Command, conn: psycopg.Connection, product: None
) -> None:
    """The task of a watch that writes the watched row never comes to rest."""
    conn.execute("select bridge.watch('reprice', 'product', 'shop.tasks.reprice')")
    conn.execute("insert into product select n, 0 from generate_series(1, 200) n")
    for _ in range(120):
        conn.execute("update product set price = price + 1 where id = 7")
    out = bridge("doctor", "--database-url", conn.info.dsn).out
    [line] = [line for line in out.splitlines() if "changed" in line]
    assert line.startswith('! watch "reprice": the row [7] changed 121 times within ')
    assert "docs/howto/my-task-never-stops.md" in line


@on_pg18
def test_the_newest_events_are_read_through_the_log_s_index(conn: psycopg.Connection) -> None:
    conn.execute("create table product (id int primary key)")
    conn.execute("select bridge.watch('w', 'product', 't')")
    conn.execute("insert into product select generate_series(1, 20000)")
    conn.execute("vacuum analyze bridge.ring")
    body = conn.execute("select prosrc from pg_proc where proname = 'restless_keys'").fetchone()
    assert body
    text = body[0].replace("within and", "interval '5 minutes' and").replace("at_least", "100")
    plan = "\n".join(row[0] for row in conn.execute(f"explain {text}"))
    assert "Index Scan Backward" in plan, plan
    assert "Seq Scan on event_" not in plan, plan


@on_pg18
def test_only_a_watch_whose_table_is_as_it_was_is_repaired(bridge: Command, conn: psycopg.Connection) -> None:
    """The name of a renamed table may belong to another one now, so nobody can know which of them is meant."""
    for name in ("kept", "renamed"):
        conn.execute(f"create table {name} (id int primary key)".encode())
        conn.execute("select bridge.watch(%s, %s::text::regclass, 't')", [name, name])
        conn.execute(f"alter table {name} disable trigger all".encode())
    conn.execute("alter table renamed rename to old; create table renamed (id int primary key)")
    out = bridge("doctor", "--database-url", conn.info.dsn).out
    assert '! watch "kept" does not fit its table any more; run `bridge repair`\n' in out
    said = "its table was changed or renamed; declare it again, or remove it"
    assert f'! watch "renamed" does not fit its table any more: {said}\n' in out
    done = bridge("repair", "--database-url", conn.info.dsn)
    assert (done.code, done.out) == (1, f"NOT REPAIRED renamed: {said}\nrepaired kept\n")
    assert 'watch "kept"' not in bridge("doctor", "--database-url", conn.info.dsn).out
