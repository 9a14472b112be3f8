"""The testing kit runs Celery's canvas as a worker does: callbacks, error callbacks, chains, groups and chords."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Task, chain, chord, group, signals
from celery.exceptions import Ignore
from django.db import connection, transaction

import bridge
from bridge import scope
from bridge.call import Call
from django_app.celery import delay_in_transaction
from django_app.testing import canvas, eager
from django_app.testing.chords import Chords
from tests.django.fix_sending import SendingWorker
from tests.django.sending_app import shop
from tests.django.sent import allow, calls
from tests.eventually import eventually
from tests.fix_bridge import Bridges
from tests.fix_postgres import Database

Notes = list[tuple[str, list[str]]]


class Kit:
    """The kit as a test uses it, with an app whose tasks note what they got."""

    def __init__(self, app: Any, file: Path) -> None:
        self.app = app
        self._file = file
        self._chords = Chords()
        self.errors: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return self.app.tasks[f"sending.{name}"]

    def run(self, made: list[Call]) -> Notes:
        """Runs the calls one after the other, as `run_bridge()` does when it is called until nothing is left."""
        for call in made:
            self._chords.expect(canvas.signature_of(call))
        for call in made:
            try:
                canvas.run(call, self._chords)
            except ValueError as error:
                self.errors.append(str(error))
        return [(note["task"].removeprefix("sending."), note["values"]) for note in self.notes()]

    def replace(self, name: str, function: Callable[..., Any], **options: Any) -> None:
        self.app.tasks.unregister(f"sending.{name}")
        self.app.task(function, name=f"sending.{name}", shared=False, **options)

    def notes(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._file.read_text().splitlines()]


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kit]:
    app = shop("memory://", "cache+memory://")
    (tmp_path / "kit").touch()
    monkeypatch.setenv("SENDING_NOTES", str(tmp_path / "kit"))
    monkeypatch.setattr(eager, "load_app", lambda: app)
    yield Kit(app, tmp_path / "kit")
    app.close()


CASES: dict[str, tuple[Callable[[Kit], Any], Notes]] = {
    "an error callback": (
        lambda kit: kit.fail.apply_async((1,), link_error=kit.sorry.s("so")),
        [("fail", ["1"]), ("sorry", ["id", "'so'"])],
    ),
    "an error callback of a chain": (
        lambda kit: chain(kit.add.s(1), kit.fail.s(), kit.echo.s("never")).on_error(kit.sorry.s("so")).apply_async(),
        [("add", ["1"]), ("fail", ["1"]), ("sorry", ["id", "'so'"])],
    ),
    "a chord": (
        lambda kit: chord([kit.add.s(1), kit.add.s(2)], kit.total.s(more=1))(),
        [("add", ["1"]), ("add", ["2"]), ("total", ["[1, 2]", "1"])],
    ),
    "a chord in a chord": (
        lambda kit: chord([chord([kit.add.s(1), kit.add.s(2)], kit.total.s()), kit.add.s(3)], kit.total.s())(),
        [("add", ["1"]), ("add", ["2"]), ("total", ["[1, 2]", "0"]), ("add", ["3"]), ("total", ["[3, 3]", "0"])],
    ),
    "a chord in a chain": (
        lambda kit: chain(kit.add.s(1), group(kit.add.s(1), kit.add.s(2)), kit.total.s(), kit.add.s(10)).apply_async(),
        [("add", ["1"]), ("add", ["1", "1"]), ("add", ["1", "2"]), ("total", ["[2, 3]", "0"]), ("add", ["5", "10"])],
    ),
    "a chord whose header fails": (
        lambda kit: chord([kit.fail.s(1), kit.add.s(2)], kit.total.s().on_error(kit.sorry.s("so")))(),
        [("fail", ["1"]), ("add", ["2"]), ("sorry", ["id", "'so'"])],
    ),
    "a chord in the header of another one fails": (
        lambda kit: chord(
            [kit.add.s(1), chord([kit.fail.s(2), kit.add.s(3)], kit.total.s().on_error(kit.sorry.s("inner")))],
            kit.total.s().on_error(kit.sorry.s("outer")),
        )(),
        [("add", ["1"]), ("fail", ["2"]), ("add", ["3"]), ("sorry", ["id", "'inner'"])],
    ),
    "a callback that fails does not stop the chain": (
        lambda kit: chain(kit.add.s(1).set(link=kit.fail.s()), kit.echo.s()).apply_async(),
        [("add", ["1"]), ("fail", ["1"]), ("echo", ["1", "{}"])],
    ),
    "a group as a callback, one of whose tasks fails": (
        lambda kit: kit.add.apply_async((1,), link=group(kit.fail.s(), kit.echo.s())),
        [("add", ["1"]), ("fail", ["1"]), ("echo", ["1", "{}"])],
    ),
    "a retry": (
        lambda kit: kit.insist.apply_async((1,), link=kit.echo.s()),
        [("insist", ["1"])] * 2 + [("echo", ["1", "{}"])],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_follows_a_task(kit: Kit, log: Database, case: str) -> None:
    send, expected = CASES[case]
    with transaction.atomic():
        send(kit)
    ran = kit.run(calls(log))
    named = [(name, ["id" if len(value) == 38 else value for value in values]) for name, values in ran]
    assert named == expected
    assert kit.errors == ["as asked"] * ("fail" in dict(expected))


def test_a_backend_without_chords_of_its_own_does_not_ask_for_ever(
    kit: Kit, log: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = shop("memory://", f"file://{tmp_path}")
    monkeypatch.setattr(eager, "load_app", lambda: app)
    with transaction.atomic():
        chord([app.tasks["sending.add"].s(1), app.tasks["sending.add"].s(2)], app.tasks["sending.total"].s())()
    assert kit.run(calls(log))[-1] == ("total", ["[1, 2]", "0"])


def test_a_value_goes_to_the_next_task_as_json(kit: Kit, log: Database) -> None:
    def pair() -> Any:
        return (1, {2: 3})

    kit.replace("sorry", pair)
    with transaction.atomic():
        chain(kit.sorry.si(), kit.echo.s()).apply_async()
    assert kit.run(calls(log)) == [("echo", ["[1, {'2': 3}]", "{}"])]


def test_nothing_follows_a_task_that_is_ignored(kit: Kit, log: Database) -> None:
    def ignore() -> None:
        raise Ignore

    kit.replace("sorry", ignore)
    with transaction.atomic():
        chain(kit.sorry.si(), kit.echo.s()).apply_async()
    assert (kit.run(calls(log)), kit.errors) == ([], [])


def test_the_handlers_of_a_task_that_fails_are_called(kit: Kit, log: Database) -> None:
    said: list[str] = []

    class Careful(Task):  # type: ignore[type-arg]  # generic in the stubs only
        def on_failure(self, exc: Exception, *_: Any) -> None:
            said.append(f"on_failure {exc}")

        def after_return(self, status: str, *_: Any) -> None:
            said.append(f"after_return {status}")

    def fail() -> None:
        raise ValueError("as asked")

    def note(exception: Exception, **_: Any) -> None:
        said.append(f"task_failure {exception}")

    kit.replace("sorry", fail, base=Careful)
    signals.task_failure.connect(note)
    with transaction.atomic():
        delay_in_transaction(kit.sorry)
    kit.run(calls(log))
    signals.task_failure.disconnect(note)
    assert said == ["on_failure as asked", "task_failure as asked", "after_return FAILURE"]


def test_an_error_callback_that_the_database_refuses_leaves_the_transaction_usable(kit: Kit, log: Database) -> None:
    def refused(*_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("select 1/0")

    kit.replace("sorry", refused)
    with transaction.atomic():
        kit.fail.apply_async((1,), link_error=kit.sorry.s())
    with transaction.atomic():
        assert kit.run(calls(log)) == [("fail", ["1"])]
        with connection.cursor() as cursor:
            cursor.execute("select 1")
    assert kit.errors == ["as asked"]


def test_what_follows_writes_with_the_context_of_its_caller(kit: Kit, log: Database) -> None:
    """The context is that of the change, as in a worker, and not that of the test."""
    seen: list[Any] = []

    def look(*_: Any) -> None:
        seen.append(scope.current())
        if len(seen) == 2:
            raise ValueError("as asked")

    kit.replace("sorry", look)
    with bridge.context(user=7), transaction.atomic():
        chain(kit.sorry.si(), kit.sorry.s(), kit.echo.s()).on_error(kit.sorry.s()).apply_async()
    with bridge.context(user=8, test="this"):
        kit.run(calls(log))
    assert [(one.get("user"), "test" in one, one["cause"]["id"]) for one in seen] == [(7, False, 1)] * 3


def tree(chance: random.Random, kit: Kit, depth: int, first: bool) -> Any:
    """Returns a signature by chance. Each takes a number, except at the beginning, and returns one."""
    kind = chance.choice(["task", "task", "chain", "chord"]) if depth else "task"
    made: Any
    if kind == "chain":
        steps = [tree(chance, kit, depth - 1, first and n == 0) for n in range(chance.randint(2, 3))]
        made = chain(*steps)
    elif kind == "chord":
        header = [tree(chance, kit, depth - 1, first) for _ in range(chance.randint(2, 3))]
        made = chord(header, kit.total.s(more=chance.randint(0, 9)))
    else:
        task = kit.fail if chance.random() < 0.07 else kit.add
        made = task.s(*[chance.randint(1, 99)] * (1 + first))
        if chance.random() < 0.2:
            made.link(kit.echo.s("linked"))
    if chance.random() < 0.2:
        made.link_error(kit.sorry.s(chance.randint(100, 999)))
    return made


def counted(notes: Notes) -> Counter[str]:
    # The first argument of `sorry` is the id of the task that has failed, which differs.
    return Counter(f"{task} {values[1:] if task == 'sorry' else values}" for task, values in notes)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:task_allow_error_cb_on_chord_header")
def test_the_kit_runs_what_a_real_worker_runs(
    kit: Kit, migrated: Database, sending: SendingWorker, run_bridge: Bridges
) -> None:
    """Generated signatures, sent once: the kit runs their events, and then the bridge and a worker do."""
    allow(migrated)
    chance = random.Random(7)
    kit.app = sending.app
    with transaction.atomic():
        for _ in range(100):
            tree(chance, kit, 3, True).apply_async()
    expected = kit.run(calls(migrated))
    bridge = sending.serve(run_bridge, migrated)
    eventually(lambda: len(sending.notes()) >= len(expected), 60)
    sending.app.tasks["sending.echo"].delay("end")
    assert eventually(lambda: sending.notes()[-1]["values"][0] == "'end'", 30)
    ran = [(note["task"].removeprefix("sending."), note["values"]) for note in sending.notes()][:-1]
    kit_only, worker_only = counted(expected) - counted(ran), counted(ran) - counted(expected)
    assert (kit_only, worker_only) == (Counter(), Counter())
    assert bridge.stop() == 0
