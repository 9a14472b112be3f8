"""dumpdata and loaddata: the bridge's tables stay where they are."""

import json
from pathlib import Path

import pytest
from catalog.models import Product
from django.core.management import CommandError, call_command
from django.db import connection

from django_app.models import Event, Watch
from tests.fix_postgres import Database

pytestmark = pytest.mark.usefixtures("migrated")


def models_in(path: Path) -> set[str]:
    return {row["model"] for row in json.loads(path.read_text())}


@pytest.mark.parametrize("arguments", [[], ["--all"], ["--exclude", "auth.permission"]])
def test_neither_watches_nor_events_are_dumped(tmp_path: Path, arguments: list[str]) -> None:
    Product.objects.create(name="lamp", price=1)
    Product.objects.update(price=2)
    assert Event.objects.exists()
    assert Watch.objects.exists()
    dump = tmp_path / "all.json"
    call_command("dumpdata", *arguments, output=str(dump))
    assert "catalog.product" in models_in(dump)
    assert not {model for model in models_in(dump) if model.startswith("bridge.")}


@pytest.mark.parametrize("label", ["bridge", "bridge.Event"])
def test_asked_for_by_name_it_says_why_not(label: str) -> None:
    with pytest.raises(CommandError, match="events belong to this database"):
        call_command("dumpdata", label)


def test_a_dump_with_events_of_an_older_version_starts_nothing(migrated: Database, tmp_path: Path) -> None:
    """`dumpdata` took them along. Their transaction ids mean nothing here."""
    event = {
        "stream": "default", "watch": "reprice", "op": "update", "key": [1], "data": None, "context": None,
        "at": "2026-11-01T12:00:00Z",
    }  # fmt: skip
    rows = [
        {"model": "bridge.event", "pk": 5_000_000 + n, "fields": {**event, "xid": str(xid)}}
        for n, xid in enumerate([5, 99_999_999])
    ]
    dump = tmp_path / "old.json"
    dump.write_text(json.dumps(rows))
    call_command("loaddata", str(dump), verbosity=0)
    assert not Event.objects.exists()
    with connection.cursor() as cursor:
        cursor.execute("select id, reason from bridge.dead_letter order by id")
        letters = cursor.fetchall()
    assert [letter[0] for letter in letters] == [5_000_000, 5_000_001]
    assert all(reason.startswith("it was loaded from elsewhere") for _, reason in letters)
