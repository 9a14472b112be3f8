"""The errors of the app travel between processes: a worker stores them as a result, and test runners pickle them."""

import pickle

import pytest
from celery.utils.serialization import get_pickleable_exception

from bridge.errors import BridgeError
from django_app.errors import DeclarationError, SendError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SendError("shop.mail", "no way"), 'task "shop.mail": no way.'),
        (SendError("shop.mail", "no way", "Migrate."), 'task "shop.mail": no way. Migrate.'),
        (DeclarationError("bridge.E001", "watches.py:3", "wrong"), "watches.py:3: wrong."),
        (DeclarationError("bridge.E011", "watches.py:3", "of Django."), "watches.py:3: of Django."),
        (DeclarationError("bridge.E001", "watches.py:3", "wrong", "Mend it."), "watches.py:3: wrong. Mend it."),
    ],
    ids=str,
)
def test_an_error_arrives_as_it_was(error: BridgeError, text: str) -> None:
    assert str(error) == text
    for copy in (pickle.loads(pickle.dumps(error)), type(error)(*error.args), get_pickleable_exception(error)):
        assert type(copy) is type(error)
        assert str(copy) == text
        assert vars(copy) == vars(error)
