"""People: the names of the users in contexts, which have their keys."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError


def user_of(context: Any) -> str | None:
    """Returns the user in a context, a key or a name, as text; None if there is none."""
    user = context.get("user") if isinstance(context, dict) else None
    return None if user is None or isinstance(user, dict | list) else str(user)


def names(users: Iterable[str | None]) -> dict[str, str]:
    """Returns the names of the users with these keys. What is not the key of a user is left out."""
    model = get_user_model()
    keys: dict[Any, str] = {}
    for user in {user for user in users if user is not None and "\0" not in user}:
        try:
            keys[model._meta.pk.to_python(user)] = user
        except (ValidationError, ValueError):
            continue  # a name
    found = model._default_manager.filter(pk__in=list(keys)) if keys else ()
    return {keys[user.pk]: user.get_username() for user in found}


def keys(name: str) -> list[str]:
    """Returns the keys of the users with this name."""
    if "\0" in name:
        return []
    model = get_user_model()
    found = model._default_manager.filter(**{model.USERNAME_FIELD: name}).values_list("pk", flat=True)
    return [str(key) for key in found[:10]]
