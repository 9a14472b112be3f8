"""Generated conditions: the SQL of a Q over two rows means what Django's own query means, whatever the Q is made of."""

from random import Random
from typing import Any

import pytest
from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, F, Q
from django.db.models.functions import Coalesce, Lower

from django_app.declarations.condition import Condition, ConditionError
from tests.django.sample import LOOKUPS, VALUES, Sample
from tests.fix_postgres import Database


def comparison(random: Random) -> Q:
    name, (side, other) = random.choice(list(VALUES)), random.choice([("old", "new"), ("new", "old")])
    if name == "text" and random.random() < 0.3:
        return Q(**{f"{side}__text__startswith": Lower(f"{other}__text")})
    # The equality of two columns is left out: there, NULL is a value like others, on purpose.
    lookup = random.choice([each for each in LOOKUPS[name] if each in ("gt", "lte", "icontains", "in")] or [""])
    if lookup and random.random() < 0.2:
        right = random.choice([F(f"{other}__{name}"), Coalesce(f"{other}__{name}", f"{side}__{name}")])
        return Q(**{f"{side}__{name}__{lookup}": [right] if lookup == "in" else right})
    lookup = random.choice(list(LOOKUPS[name]))
    return Q(**{f"{side}__{name}__{lookup}": random.choice(LOOKUPS[name][lookup])})


def condition(random: Random, depth: int) -> Q:
    if depth == 0 or random.random() < 0.3:
        found = comparison(random)
    else:
        parts = [condition(random, depth - 1) for _ in range(random.choice([1, 2, 2, 3]))]
        found = Q(*parts, _connector=random.choice([Q.AND, Q.OR, Q.XOR]))
    return ~found if random.random() < 0.4 else found


def as_query(q: Q) -> Q:
    """Returns the Q for a query of the new rows."""
    return Q(*map(_child, q.children), _connector=q.connector, _negated=q.negated)


def _child(child: Any) -> Any:
    if isinstance(child, Q):
        return as_query(child)
    path, right = child
    compared = Q((_path(path), [_right(each) for each in right] if isinstance(right, list) else _right(right)))
    # exclude() is not the contrary of filter() where a value inside a column is NULL: Django's manual warns of it.
    return Coalesce(ExpressionWrapper(compared, BooleanField()), False)


def _right(value: Any) -> Any:
    if isinstance(value, F):
        return F(_path(vars(value)["name"]))
    if isinstance(value, Coalesce | Lower):
        return type(value)(*map(_right, value.get_source_expressions()))
    return value


def _path(path: str) -> str:
    side, _, rest = path.partition("__")
    return rest if side == "new" else f"before__{rest}"


def changes(random: Random) -> set[int]:
    """Makes 12 changes, each of two rows; returns the keys of the new ones."""
    for key in range(1, 25):
        values = {name: random.choice([None, *pool]) for name, pool in VALUES.items()}
        Sample._default_manager.create(pk=key, before_id=key - 1 + key % 2, **values)
    return set(range(2, 25, 2))


def selected(q: Q) -> set[int] | str:
    """Returns the changes that a trigger with this condition would record; the message if it is always or never so."""
    try:
        sql = Condition(Sample, q).sql()
    except ConditionError as error:
        return str(error)
    pairs = "select new.id from sample new join sample old on old.id = new.before_id where new.id % 2 = 0"
    with connection.cursor() as cursor:
        cursor.execute(f"{pairs} and ({sql})")
        return {key for (key,) in cursor.fetchall()}


@pytest.fixture
def sample(migrated: Database) -> None:
    with connection.schema_editor() as editor:
        editor.create_model(Sample)


@pytest.mark.usefixtures("sample")
@pytest.mark.parametrize("seed", range(3))
def test_a_condition_means_what_djangos_query_means(seed: int) -> None:
    random = Random(seed)
    keys = changes(random)
    constant = {"it is never true": set[int](), "it is empty or always true, so leave it out": keys}
    wrong = []
    for _ in range(400):
        q = condition(random, 2)
        rows = Sample._default_manager.filter(as_query(q), pk__in=keys)
        found = selected(q)
        if (constant.get(found) if isinstance(found, str) else found) != set(rows.values_list("pk", flat=True)):
            wrong.append((q, found))
    assert wrong == []
