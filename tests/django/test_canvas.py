"""Every signature of Celery's canvas, sent in a transaction, through the bridge and a real worker."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from celery import chain, chord, chunks, group
from celery.result import AsyncResult, GroupResult
from django.db import connection, transaction

from tests.django.fix_sending import SendingWorker
from tests.django.sent import allow, rolled_back
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_postgres import Database

pytestmark = pytest.mark.soak


def get(result: Any, name: str = "") -> Any:
    if isinstance(result, GroupResult):
        return [get(one, name) for one in result.results or ()]
    assert eventually(result.ready, 30), f"{name}: {result.state}"
    return result.get(disable_sync_subtasks=False)


def test_every_signature_has_the_result_that_celery_would_give(
    migrated: Database, sending: SendingWorker, run_bridge: Bridges
) -> None:
    allow(migrated)
    tasks = sending.app.tasks
    add, total, echo, fail, sorry = (tasks[f"sending.{name}"] for name in ("add", "total", "echo", "fail", "sorry"))
    soon = datetime.now().astimezone() + timedelta(seconds=1)
    cases: dict[str, tuple[Any, Any]] = {
        "a task": (add.s(1, 2), 3),
        "a countdown": (add.s(1, 3).set(countdown=0.5), 4),
        "an eta": (add.s(1, 4).set(eta=soon), 5),
        "expires": (add.s(1, 5).set(expires=600), 6),
        "a chain": (chain(add.s(1), add.s(2), add.s(3)), 6),
        "an immutable chain": (chain(add.s(1), add.si(2), add.s(3)), 5),
        "a chain of one": (chain(add.s(7)), 7),
        "a group": (group(add.s(n, n) for n in range(3)), [0, 2, 4]),
        "a group in a group": (group(add.s(1), group(add.s(2), add.s(3))), [1, 2, 3]),
        "a chord": (chord([add.s(n) for n in range(4)], total.s(more=1)), 7),
        "a chord without a header": (chord([], total.s()), 0),
        "a group into a task": (chain(group(add.s(1), add.s(2)), total.s()), 3),
        "a chord in a chain": (chain(add.s(1), group(add.s(1), add.s(2)), total.s(), add.s(10)), 15),
        "chains in a chord": (chord([chain(add.s(1), add.s(1)), chain(add.s(2), add.s(2))], total.s()), 6),
        "a chord in a chord": (chord([chord([add.s(1), add.s(2)], total.s()), add.s(3)], total.s()), 6),
        "a map": (echo.map([1, "a"]), ["1", "'a'"]),
        "a starmap": (add.starmap([(1, 2), (3, 4)]), [3, 7]),
        "chunks": (chunks(add.s(), [(n, n) for n in range(4)], 2, app=sending.app), [[0, 2], [4, 6]]),
    }
    sent: dict[str, Any] = {}
    with transaction.atomic():
        for name, (signature, _) in cases.items():
            sent[name] = signature.apply_async()
        linked = add.apply_async((20, 1), link=[echo.s("linked"), total.si([100], 1)], link_error=sorry.s("no"))
        failed = fail.apply_async((1,), link_error=[sorry.s("failed")])
        broken = chain(add.s(30), fail.s(), echo.s("never")).on_error(sorry.s("chain")).apply_async()
        in_group = group(add.s(40).set(link=echo.s("of a group")), add.s(41)).apply_async()
        # The result that Celery returns for this one has other ids than its tasks, so it stays pending for ever.
        chain(add.s(300), group(echo.s("a"), echo.s("b"))).apply_async()
        tried = tasks["sending.insist"].delay(2)
        expired = add.apply_async((50,), expires=datetime.now().astimezone() - timedelta(seconds=1))
        ordered = [echo.delay(f"in order {n}") for n in range(20)]
    with rolled_back():
        chord([add.s(60), add.s(61)], total.s())()
        add.delay(62)
    bridge = sending.serve(run_bridge, migrated)
    for name, (_, expected) in cases.items():
        assert get(sent[name], name) == expected, name
    assert (get(linked), get(in_group), get(tried)) == (21, [40, 41], 2)
    for result in (failed, broken):
        with pytest.raises(ValueError, match="as asked"):
            get(result)

    def linked_values() -> set[str]:
        return {note["values"][1] for note in sending.notes("sending.echo") if len(note["values"]) > 2}

    assert eventually(lambda: linked_values() == {"'linked'", "'of a group'", "'a'", "'b'"}, 30), linked_values()
    sending.wait_for(2, "sending.sorry")
    for result in ordered:
        get(result)
    with migrated.connect() as other:
        assert other.execute("select reason from bridge.dead_letter").fetchall() == []
    done = [note["values"][0] for note in sending.notes("sending.echo")]
    assert [value for value in done if "in order" in value] == [repr(f"in order {n}") for n in range(20)]
    ran = {note["values"][0] for note in sending.notes("sending.add") if note["values"]}
    assert not ran & {"50", "60", "61", "62"}, "what expired or was rolled back must not run"
    assert AsyncResult(expired.id, app=sending.app).state in ("PENDING", "REVOKED")
    assert {note["id"] for note in sending.notes()} >= {result.id for result in [linked, failed, tried, *ordered]}
    assert bridge.stop() == 0


def test_a_task_in_a_worker_sends_in_its_transaction_and_keeps_the_tree(
    migrated: Database, sending: SendingWorker, run_bridge: Bridges
) -> None:
    """Tasks that the bridge started go on with Celery: the rest of a chain is published by the worker itself."""
    allow(migrated)
    add, echo = sending.app.tasks["sending.add"], sending.app.tasks["sending.echo"]
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("""set local bridge.context = '{"user": 7}'""")
        result = chain(add.s(1), echo.s()).apply_async(headers={"tenant": "a"})
    bridge = sending.serve(run_bridge, migrated)
    assert get(result) == "1"
    [first], [second] = sending.notes("sending.add"), sending.notes("sending.echo")
    assert (first["root"], second["root"], second["parent"]) == (first["id"], first["id"], first["id"])
    assert first["headers"]["tenant"] == "a"
    assert first["headers"]["bridge"]["context"] == {"user": 7}
    assert second["id"] == result.id
    assert bridge.stop() == 0
