"""What the tests of the admin share: users, changes with a context, and dead letters."""

from http import HTTPStatus
from typing import Any

from catalog.models import Product
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client

BASE = "/admin/bridge/"


def superuser() -> Client:
    return _client(User.objects.create_superuser("admin"))


def staff(*permissions: str) -> Client:
    """Returns a client whose user may only do this, such as "bridge.view_event"."""
    user = User.objects.create_user("anna", is_staff=True)
    for each in permissions:
        app, _, codename = each.partition(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    return _client(user)


def _client(user: User) -> Client:
    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    return client


def change(product: Product, price: str, context: str = "") -> None:
    execute("select set_config('bridge.context', %s, false)", context)
    Product.objects.filter(pk=product.pk).update(price=price)
    execute("select set_config('bridge.context', '', false)")


def execute(statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


def page(client: Client, address: str) -> str:
    answer = client.get(address if address.startswith("/") else BASE + address)
    assert answer.status_code == HTTPStatus.OK, f"{address}: {answer.status_code}"
    return answer.content.decode()


def event_page(which: str = "order by id desc") -> str:
    """Returns the address of the newest event's page."""
    ((stream, xid, number),) = execute(f"select stream, xid::text, id from bridge.event {which} limit 1")
    return f"event/{stream}-{xid}-{number}/change/"


def bury(reason: str = "its queue does not exist") -> int:
    """Makes a dead letter of the newest event. Returns its id."""
    ((number,),) = execute(
        """
        with newest as (select * from bridge.event order by id desc limit 1)
        select n.id from newest n, bridge.bury(n.stream, array[n.id], array[n.at], array[n.xid], array[%s])
        """,
        reason,
    )
    deliver()
    return int(number)


def deliver() -> None:
    """Moves the position, as the relay does when everything is published."""
    execute("update bridge.position set seen = pg_current_snapshot(), cluster = bridge._cluster()")
