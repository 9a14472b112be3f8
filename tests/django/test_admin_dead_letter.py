"""A person decides about dead letters: with a confirmation, with a permission, and never about more than that."""

import json
import re
from http import HTTPStatus
from typing import Any

import pytest
from catalog.models import Product
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from bridge.call import Call, Targets, call_for
from bridge.event import Event
from django_app import watch
from django_app.declarations import registry
from tests.django.admin_site import bury, change, event_page, execute, page, staff, superuser
from tests.fix_postgres import Database, on_pg18

pytestmark = on_pg18

LIST = "/admin/bridge/deadletter/"
ALL = ("bridge.view_deadletter", "bridge.retry_deadletter", "bridge.edit_deadletter", "bridge.discard_deadletter")


@pytest.fixture
def letter(migrated: Database) -> int:
    """A dead letter of the watch on the product's price. Returns its id."""
    product = Product.objects.create(name="Tea", price=1)
    change(product, "2")
    return bury("the queue <b> does not exist")


@pytest.fixture
def sent(migrated: Database) -> int:
    """A dead letter of a task that was sent. Returns its id."""
    execute("select bridge.allow('shop.mail')")
    execute("""select bridge.send('shop.mail', '["anna"]', '{"copy": true}', '{"queue": "mail", "countdown": 5}')""")
    return bury("the queue does not exist")


def letters() -> int:
    return int(execute("select count(*) from bridge.dead_letter")[0][0])


def waiting() -> list[Any]:
    """Returns the data of the events that wait."""
    return [json.loads(data or "null") for (data,) in execute("select data from bridge.waiting order by id")]


def hidden(shown: str) -> dict[str, str]:
    """Returns the hidden fields of a confirmation page."""
    return dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', shown))


def confirm(client: Client, action: str, *numbers: int) -> str:
    """Selects dead letters in the list, confirms the action, and returns the page that follows."""
    asked = client.post(LIST, {"action": action, "_selected_action": numbers, "index": "0", "select_across": "0"})
    assert asked.status_code == HTTPStatus.OK
    shown = asked.content.decode()
    assert letters() > 0, "the first click does nothing"
    answer = client.post(LIST, {**hidden(shown), "_selected_action": numbers}, follow=True)
    return answer.content.decode()


def test_they_are_listed_and_grouped_by_reason(letter: int) -> None:
    execute(
        "insert into bridge.dead_letter (id, stream, watch, op, at, reason) "
        "select n, 'default', 'catalog.product_reprice', 'update', now(), 'other' from generate_series(100, 102) n"
    )
    client = superuser()
    shown = page(client, LIST)
    assert "4 dead letters" in shown
    assert "the queue &lt;b&gt; does not exist" in shown
    group = re.search(r'<a href="(\?reason=other[^"]*)">other</a></td><td>[^<]*</td><td>3</td>', shown)
    assert group
    assert "3 dead letters" in page(client, LIST + group[1].replace("&amp;", "&"))


def test_a_retry_is_confirmed_and_keeps_the_event(letter: int) -> None:
    before = execute("select id, at, watch, key from bridge.dead_letter")
    client = superuser()
    said = confirm(client, "retry", letter)
    assert "1 dead letter will be published again" in said
    assert execute("select id, at, watch, key from bridge.waiting") == before
    assert LogEntry.objects.get().user.username == "admin"
    ((context,),) = execute("select context::jsonb ->> 'user' from bridge.decision")
    assert context == str(User.objects.get(username="admin").pk)
    shown = page(client, event_page("order by event.xid"))
    assert "retried" in shown
    assert " by admin" in shown


def test_a_discard_is_confirmed_and_final(letter: int) -> None:
    said = confirm(superuser(), "discard", letter)
    assert "1 dead letter discarded" in said
    assert (letters(), waiting()) == (0, [])


def test_all_of_a_group_are_decided_at_once_and_no_later_ones(letter: int) -> None:
    add = (
        "insert into bridge.dead_letter (id, stream, watch, op, at, reason) "
        "select n, 'default', 'x', 'update', now(), 'other' from generate_series({}, {}) n"
    )
    execute(add.format(100, 170))
    client = superuser()
    address = f"{LIST}?reason=other"
    form = {"action": "discard", "select_across": "1", "_selected_action": ["100"], "index": "0"}
    asked = client.post(address, form).content.decode()
    assert "71 dead letters will be deleted" in asked
    assert "and 51 more" in asked
    execute(add.format(200, 201))  # meanwhile
    client.post(address, {**hidden(asked), "_selected_action": ["100"]})
    assert letters() == 3


@pytest.mark.parametrize("action", ["retry", "discard", "edit"])
def test_each_decision_has_its_own_permission(letter: int, action: str) -> None:
    others = [each for each in ALL if each != f"bridge.{action}_deadletter"]
    client = staff(*others)
    assert f"/{action}/" not in page(client, f"{LIST}{letter}/change/")
    for send in (client.get, client.post):
        assert send(f"{LIST}{letter}/{action}/").status_code == HTTPStatus.FORBIDDEN
    client.post(LIST, {"action": action, "_selected_action": [letter], "confirmed": "yes"})
    client.post(LIST, {"action": action, "_selected_action": [letter], "confirmed": "yes", "index": "0"})
    assert (letters(), waiting()) == (1, [])


def test_a_decision_needs_the_right_to_see_it(letter: int) -> None:
    client = staff(*ALL[1:])
    for action in ("retry", "discard", "edit"):
        answer = client.post(f"{LIST}{letter}/{action}/", {"confirmed": "yes", "args": "[]"})
        assert answer.status_code == HTTPStatus.FORBIDDEN
    assert letters() == 1


def test_one_letter_is_decided_about_on_its_page(letter: int) -> None:
    client = staff(*ALL)
    shown = page(client, f"{LIST}{letter}/change/")
    for action in ("retry", "edit", "discard"):
        assert f'href="/admin/bridge/deadletter/{letter}/{action}/"' in shown
    asked = page(client, f"{LIST}{letter}/discard/")
    client.post(f"{LIST}{letter}/discard/", hidden(asked))
    assert letters() == 0


def test_a_letter_that_another_person_decided_about_is_no_error(letter: int) -> None:
    client = superuser()
    execute("select bridge.discard(array[%s])", letter)
    form = {"action": "retry", "_selected_action": [letter], "confirmed": "yes"}
    assert "These dead letters are gone" in client.post(LIST, form, follow=True).content.decode()
    for action in ("retry", "discard", "edit"):
        assert client.get(f"{LIST}{letter}/{action}/").status_code == HTTPStatus.NOT_FOUND
        assert client.get(f"{LIST}x/{action}/").status_code == HTTPStatus.NOT_FOUND


def test_edited_arguments_are_confirmed_and_sent(sent: int) -> None:
    client = superuser()
    address = f"{LIST}{sent}/edit/"
    shown = page(client, address)
    assert "[&quot;anna&quot;]" in shown
    asked = client.post(address, {"args": '["eve"]', "kwargs": "{}"}).content.decode()
    assert letters() == 1, "the first click does nothing"
    answer = client.post(address, {"args": '["eve"]', "kwargs": "{}", "confirmed": "yes"}, follow=True)
    assert "Yes, send it" in asked
    assert "shop.mail was sent" in answer.content.decode()
    (data,) = waiting()
    assert data["task"] == "shop.mail"
    assert data["args"] == ["eve"]
    assert data["kwargs"] == {}
    assert data["options"] == {"queue": "mail", "countdown": 5}
    assert letters() == 0


MESSAGE = {
    "id": "6a1f2f0e-6d0b-4c39-9d53-0c7c5e1b7f5a",
    "queue": "mail",
    "argsrepr": "('anna',)",
    "embed": json.dumps({"callbacks": [{"task": "shop.log", "args": [], "kwargs": {}, "options": {}}]}),
}


@pytest.fixture
def called(migrated: Database) -> int:
    """A dead letter of a task that was called in a transaction, with a callback. Returns its id."""
    execute("select bridge.allow('shop.mail'), bridge.allow('shop.log')")
    execute(
        """select bridge.send_task('shop.mail', '["anna"]', '{"copy": true}', %s::jsonb, '{shop.log}')""",
        json.dumps(MESSAGE),
    )
    return bury("the queue does not exist")


def test_a_task_that_was_called_in_a_transaction_is_edited_and_keeps_its_id(called: int) -> None:
    client = superuser()
    address = f"{LIST}{called}/edit/"
    shown = page(client, address)
    assert "[&quot;anna&quot;]" in shown
    assert "keeps its task id" in shown
    client.post(address, {"args": '["eve", 1e16]', "kwargs": "{}", "confirmed": "yes"})
    assert letters() == 0
    ((number, data, at),) = execute("select id, data, at from bridge.waiting")
    call = call_for(
        Event(number, "", "send", None, json.loads(data), None, at),
        Targets(sendable=frozenset(["shop.mail", "shop.log"])),
    )
    assert isinstance(call, Call)
    assert call.message is not None
    assert (call.target.task, call.args, call.kwargs) == ("shop.mail", ("eve", 1e16), {})
    assert (call.task_id, call.message.protocol.queue, call.message.protocol.argsrepr) == (MESSAGE["id"], "mail", "...")
    assert call.message.embed["callbacks"][0]["task"] == "shop.log"


@pytest.mark.parametrize("task", ["shop.mail", "shop.log"])
def test_a_called_task_or_callback_that_is_not_allowed_any_more_is_not_started(called: int, task: str) -> None:
    execute("select bridge.disallow(%s)", task)
    form = {"args": "[1]", "kwargs": "{}", "confirmed": "yes"}
    said = superuser().post(f"{LIST}{called}/edit/", form).content.decode()
    assert f"{task}&quot; may not be sent" in said
    assert (letters(), waiting()) == (1, [])


@pytest.mark.parametrize("forged", [{}, {"task": "os.system"}, {"options": '{"queue": "x"}', "stream": "other"}])
def test_a_task_that_is_not_allowed_is_not_started(letter: int, forged: dict[str, str]) -> None:
    execute("select bridge.disallow('catalog.tasks.reprice', 'django')")
    address = f"{LIST}{letter}/edit/"
    form = {"args": "[1]", "kwargs": "{}", "confirmed": "yes", **forged}
    client = superuser()
    said = client.post(address, form, follow=True).content.decode()
    assert "may not be sent" in said
    assert "select bridge.allow(&#x27;catalog.tasks.reprice&#x27;);" in said
    assert (letters(), waiting()) == (1, [])
    execute("select bridge.allow('catalog.tasks.reprice')")
    assert client.post(address, form).status_code == HTTPStatus.FOUND
    (data,) = waiting()
    assert data == {"task": "catalog.tasks.reprice", "args": [1], "kwargs": {}, "options": {}}


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ("{}", "{}"),
        ("1", "{}"),
        ("[", "{}"),
        ("[NaN]", "{}"),
        ("[1e999]", "{}"),
        (r'["\u0000"]', "{}"),
        (r'["\ud800"]', "{}"),
        ("[]", "[]"),
        ("[]", '"x"'),
        ("[" * 5000, "{}"),
        ("[" * 500 + "]" * 500, "{}"),
        ("[" + "9" * 5000 + "]", "{}"),
    ],
)
def test_wrong_arguments_are_refused(sent: int, args: str, kwargs: str) -> None:
    answer = superuser().post(f"{LIST}{sent}/edit/", {"args": args, "kwargs": kwargs, "confirmed": "yes"})
    assert answer.status_code == HTTPStatus.OK
    assert "errorlist" in answer.content.decode()
    assert (letters(), waiting()) == (1, [])


def test_a_letter_that_cant_be_read_is_shown_and_can_be_discarded(migrated: Database) -> None:
    execute(
        "insert into bridge.dead_letter (id, stream, watch, op, key, data, context, at, reason) values "
        "(-5, 'default', 'gone', 'update', '[1e131071]', null, repeat('[', 3000), 'infinity', 'it is odd')"
    )
    client = superuser()
    page(client, LIST)
    page(client, f"{LIST}-5/change/")
    assert "can&#x27;t be read" in client.get(f"{LIST}-5/edit/", follow=True).content.decode()
    assert "1 dead letter discarded" in confirm(client, "discard", -5)


@pytest.fixture
def as_event(shop_database: Database, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(registry, "_in_code", [])
    watch(Product, task="catalog.tasks.reprice", on=["update"], data=["price"], call="event", priority=3)
    call_command("migrate", verbosity=0)
    change(Product.objects.create(name="Tea", price=1), "2", '{"user": "anna"}')
    return bury("why")


def test_a_task_that_takes_the_event_can_be_edited(as_event: int) -> None:
    execute("select bridge.allow('catalog.tasks.reprice')")
    client = superuser()
    shown = page(client, f"{LIST}{as_event}/edit/")
    for part in (
        "&quot;operation&quot;: &quot;update&quot;",
        "&quot;price&quot;: &quot;2.00&quot;",
        "&quot;user&quot;: &quot;anna&quot;",
    ):
        assert part in shown
    client.post(f"{LIST}{as_event}/edit/", {"args": "[{}]", "confirmed": "yes"})
    (data,) = waiting()
    assert data["options"] == {"priority": 3}
