"""Each input in the log ends as a task or a dead letter, the healthy event after it arrives, the bridge stays up."""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count
from typing import Any
from uuid import uuid5

import kombu
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisWarning
from psycopg.types.json import Jsonb

from bridge.task_id import NAMESPACE
from tests.eventually import eventually
from tests.fix_bridge import Bridge, Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg18
from tests.fuzz.inputs import QUEUES, Input, Row, Send, Values, inputs

pytestmark = on_pg18

_SET_UP = """
create table anything (
    id int primary key generated always as identity,
    t text, j jsonb, n numeric, f float8, ts timestamptz, a text[]
);
create table healthy (id int primary key);
select bridge.allow('shop.mail');
-- An input that bridge.send refuses leaves no event, and the transaction goes on.
create function send(task text, args jsonb, kwargs jsonb, options jsonb) returns void language plpgsql as $$
begin
    perform bridge.send(task, args, kwargs, options);
exception when insufficient_privilege or invalid_parameter_value then null;
end $$;
"""
# Coalesced events share an id that the test can't compute. For them it only checks that none waits.
_NAMES = """
select
    watch, case when isfinite(at) then concat_ws('/', watch, id, trunc(extract(epoch from at) * 1000000)::text) end,
    exists (
        select from bridge.dead_letter d
        where d.id = e.id and d.at = e.at and d.watch = e.watch and d.op = e.op
            and d.key is not distinct from e.key and d.data is not distinct from e.data
    ) or exists (
        select from bridge.event t where t.id = e.id and t.at = e.at and t.watch = e.watch and t.ctid <> e.ctid
    ) as buried_or_twin, op, left(data::text, 500), left(key::text, 100)
from bridge.event e
where watch not in ('coalesced', 'healthy')
"""
_ROW = """
insert into bridge.event (id, stream, watch, op, key, data, context, at)
values (coalesce(%s, nextval('bridge.event_id')), 'default', %s, %s, %s, %s, %s, %s)
"""

# Each example has twenty inputs and runs in each of four configurations of the bridge: 100,000 inputs in all.
_EXAMPLES = int(os.environ.get("BRIDGE_FUZZ_EXAMPLES", "1250"))


class Fuzzed:
    """A bridge with the inputs that it gets and the messages that it publishes."""

    def __init__(self, conn: psycopg.Connection, bridge: Bridge, broker: Broker, queues: Sequence[str]) -> None:
        self.conn = conn
        self.bridge = bridge
        self.pid = bridge.child.pid
        self._numbers = count(1)
        self._connection = broker.connect()
        self._channel: Any = self._connection.default_channel
        self._queues = queues

    def put(self, some: Sequence[Input]) -> None:
        """Writes the inputs in one transaction, and a healthy row after them in another one."""
        with self.conn.transaction():
            for one in some:
                self._put(one)
        self._last = next(self._numbers)
        self.conn.execute("insert into healthy values (%s)", [self._last])

    def _put(self, one: Input) -> None:
        context = one.context or ""
        self.conn.execute("select set_config('bridge.context', %s, true)", [context])
        match one:
            case Row():
                self.conn.execute(_ROW, list(one))
            case Send():
                self.conn.execute("select send(%s, %s::jsonb, %s::jsonb, %s::jsonb)", list(one[:4]))
            case Values():
                self.conn.execute(
                    "insert into anything (t, j, n, f, ts, a) values (%s, %s, %s, %s, %s, %s)", list(one[:6])
                )

    def settled(self) -> bool:
        row = self.conn.execute("select not exists (select from bridge.waiting)").fetchone()
        return row == (True,) or not self.bridge.running

    def arrived(self) -> tuple[set[str], list[int]]:
        """Returns the task ids of the inputs, and the keys of the healthy rows."""
        ids: set[str] = set()
        healthy: list[int] = []

        def receive(message: Any) -> None:
            if message.headers["task"] == "shop.healthy":
                healthy.append(message.decode()[0][0])
            else:
                ids.add(message.headers["id"])

        queues = [kombu.Queue(name, kombu.Exchange(name, "direct"), name)(self._channel) for name in self._queues]
        for queue in queues:
            queue.declare()
        with self._connection.Consumer(queues, on_message=receive, no_ack=True):
            while self._last not in healthy or self._left(queues):
                self._connection.drain_events(timeout=10)
        return ids, healthy

    def _left(self, queues: list[Any]) -> bool:
        return any(queue.queue_declare().message_count for queue in queues)

    def unaccounted(self, ids: set[str]) -> list[tuple[Any, ...]]:
        """Returns the events that are neither a task nor a dead letter, and then empties the log."""
        rows = self.conn.execute(_NAMES).fetchall()
        missing = [row for row in rows if not row[2] and (row[1] is None or str(uuid5(NAMESPACE, row[1])) not in ids)]
        self.conn.execute("truncate bridge.event")
        self.conn.execute("truncate bridge.dead_letter")
        return missing

    def close(self) -> None:
        self._connection.release()


@pytest.fixture(params=["rabbitmq", "redis"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Yields a broker that no other test uses, because the inputs contain made-up names of queues."""
    name = {"rabbitmq": "empty_rabbitmq", "redis": "redis_broker"}[request.param]
    broker: Broker = request.getfixturevalue(name)
    return broker


@pytest.fixture(params=["1", "2"])
def fuzzed(
    request: pytest.FixtureRequest, database: Database, conn: psycopg.Connection, broker: Broker, run_bridge: Bridges
) -> Iterator[Fuzzed]:
    conn.execute(_SET_UP)
    watches: dict[str, dict[str, Any]] = {"plain": {}, "event": {"call": "event"}, "coalesced": {"coalesce": True}}
    for name, said in watches.items():
        options = Jsonb({**said, "queue": "fuzz"})
        conn.execute(
            "select bridge.watch(%s, 'anything', 'shop.touch', data => '{t,j,n,f,ts,a}', options => %s)",
            [name, options],
        )
    conn.execute("select bridge.watch('healthy', 'healthy', 'shop.healthy', options => '{\"queue\": \"healthy\"}')")
    bridge = run_bridge(database.dsn, f"--publishers={request.param}", broker_url=broker.url)
    # Messages that name no queue go to Celery's own default queue.
    queues = ["fuzz", "healthy", "celery", *(["q" * 300] if broker.id == "redis" else [])]
    with closing(Fuzzed(conn, bridge, broker, queues)) as opened:
        yield opened


def check(fuzzed: Fuzzed, some: list[Input]) -> None:
    fuzzed.put(some)
    assert eventually(fuzzed.settled, 30), fuzzed.bridge.child.tail()
    assert fuzzed.bridge.running, f"the bridge ended\n{fuzzed.bridge.child.tail()}"
    assert fuzzed.bridge.child.pid == fuzzed.pid
    ids, _ = fuzzed.arrived()
    assert fuzzed.unaccounted(ids) == []


def test_any_input_ends_as_a_task_or_a_dead_letter(fuzzed: Fuzzed) -> None:
    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(inputs(QUEUES), max_size=12))
    def run(some: list[Input]) -> None:
        check(fuzzed, some)

    run()
    assert fuzzed.bridge.states() == {"default": "running"}


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_inputs(fuzzed: Fuzzed) -> None:
    """Tries 25,000 inputs for each broker and number of publishers, two hundred in a transaction."""
    waiting: list[Input] = []
    total = 0

    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
    )
    @given(st.lists(inputs(QUEUES), min_size=20, max_size=20))
    def run(some: list[Input]) -> None:
        nonlocal total
        waiting.extend(some)
        if len(waiting) >= 200:
            check(fuzzed, waiting)
            total += len(waiting)
            waiting.clear()

    # The message of the failed test shows the inputs. Hypothesis would print all the rows again.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HypothesisWarning)
        run()
    print(f"{total} inputs, process {fuzzed.pid} lives: {fuzzed.bridge.running}")  # noqa: T201 - scripts/soak shows it
    assert total >= 20 * _EXAMPLES - 200
