"""The memory for a batch does not depend on the size of the values in a row."""

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_broker import Broker
from tests.fix_postgres import on_pg18

pytestmark = on_pg18

MB = 1_000_000
WIDE = {
    "compressed": "repeat('x', {size} + 0 * count(*)::int)",
    # 1.5 bytes on disk for 2 characters: pglz does not compress such a value.
    "random": "left(string_agg(encode(sha512(n::text::bytea), 'base64'), ''), {size})",
    "many values": "jsonb_agg(n % 10)",
}


SHAPES = [(kind, *shape) for kind in WIDE for shape in [(100, MB), (2000, 20_000)]]
SHORT = {("rabbitmq", "compressed", 100, MB), ("valkey", "random", 2000, 20_000)}


@pytest.mark.parametrize(
    ("broker", "kind", "count", "size"),
    [
        pytest.param(name, *shape, marks=() if (name, *shape) in SHORT else pytest.mark.soak)
        for name in ("valkey", "redis", "rabbitmq")
        for shape in SHAPES
    ],
    indirect=["broker"],
)
def test_a_hundred_megabytes_of_events_take_little_memory(
    conn: psycopg.Connection, broker: Broker, run_bridge: Bridges, kind: str, count: int, size: int
) -> None:
    conn.execute("create table item (id int primary key, note jsonb)")
    options = Jsonb({"queue": broker.queue, "call": "event"})
    conn.execute("select bridge.watch('i', 'item', 'shop.touch', data => '{note}', options => %s)", [options])
    value = WIDE[kind].format(size=size)
    conn.execute(
        f"create table wide as select to_jsonb({value}) as note from generate_series(1, {size // 3}) n".encode()
    )
    conn.execute("insert into item select n, note from generate_series(1, %s) n, wide", [count])
    bridge = run_bridge(conn.info.dsn, broker_url=broker.url)
    delivered = "select not exists (select from bridge.waiting)"
    assert eventually(lambda: conn.execute(delivered.encode()).fetchone() == (True,), 90)
    assert bridge.peak_memory() < 150 * MB, f"{bridge.peak_memory() // MB} MB"
