"""Request: what a change has as its context because it happened during a request of the site."""

from typing import Any
from uuid import uuid4

from django.contrib.auth import SESSION_KEY, get_user_model
from django.http import HttpRequest
from django.utils.functional import LazyObject, empty

from bridge.chain import is_traceparent, is_tracestate

_PATH = 500
_ID = 200


class RequestValues:
    """The values of one request. They are read when the request writes, and never by a query of their own."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._fixed: dict[str, Any] | None = None

    def __call__(self) -> dict[str, Any]:
        if self._fixed is None:
            self._fixed = self._read()
        user = user_of(self._request)
        return self._fixed if user is None else {"user": user, **self._fixed}

    def _read(self) -> dict[str, Any]:
        headers = self._request.headers
        values = {
            "request": _clean(headers.get("X-Request-ID", ""), _ID) or uuid4().hex,
            "method": _clean(self._request.method or "", 20),
            "path": _clean(self._request.path, _PATH),
        }
        if is_traceparent(parent := headers.get("traceparent")):
            values["traceparent"] = parent
            if is_tracestate(state := headers.get("tracestate")):
                values["tracestate"] = state
        return values


def user_of(request: HttpRequest) -> Any:
    """Returns the key of the request's user, as JSON expresses it; None if there is none, or if nobody asked yet.

    A user who is not loaded is taken from the session, if that is loaded: both would cost a query, and looking at the
    session marks the answer as one that depends on the cookie.
    """
    user = request.__dict__.get("user")
    if isinstance(user, LazyObject) and user._wrapped is empty:
        user = request.__dict__.get("_cached_user") or request.__dict__.get("_acached_user")
        if user is None:
            return _user_of_session(request)
    return _plain(getattr(user, "pk", None))


def _user_of_session(request: HttpRequest) -> Any:
    loaded = getattr(getattr(request, "session", None), "_session_cache", None) or {}
    key = loaded.get(SESSION_KEY)
    if key is None:
        return None
    try:
        return _plain(get_user_model()._meta.pk.to_python(key))
    except Exception:  # a project's own field; the text of the session is as good
        return _plain(key)


def _plain(key: Any) -> Any:
    """Returns numbers as they are, and everything else as text, such as a UUID."""
    if key is None or isinstance(key, int):
        return key
    return _clean(str(key), _ID)


def _clean(text: str, most: int) -> str:
    """Returns the text without what PostgreSQL or JSON can't hold: NUL, and halves of characters."""
    return text[:most].replace("\0", "").encode("utf-8", "replace").decode()
