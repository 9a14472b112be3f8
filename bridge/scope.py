"""Scope: who and what the code that runs now acts for. Its values become the context of the events that it causes.

Scopes are nested. Each thread, each asyncio task and each greenlet has its own, because they are kept in a context
variable. The integrations (django_app.context, bridge.transaction) pass them on to PostgreSQL as `bridge.context`.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import wraps
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from bridge.nesting import TOO_DEEP, depth_exceeds

RESERVED = frozenset({"task", "task_id", "cause", "depth", "chain"})
"""Names that the worker's integration sets. The end of loops depends on them."""

MOST_CHARACTERS = 20_000
"""The values are a header of each message. A frame of RabbitMQ holds 131,072 bytes of headers, so a larger context
would make dead letters of all events that have it."""

Values = Mapping[str, Any]
Layer = Values | Callable[[], Values]
_F = TypeVar("_F", bound=Callable[..., Any])

_layers: ContextVar[tuple[Layer, ...]] = ContextVar("bridge_scope", default=())


class Scope:
    """Adds values to the context while it is open. It can be entered again, also by several threads at once."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    def __enter__(self) -> None:
        _layers.set((*_layers.get(), self._layer))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Its own layer, which may not be the last: a generator may end inside a scope that was opened after it.
        layers = _layers.get()
        place = next((place for place in range(len(layers) - 1, -1, -1) if layers[place] is self._layer), None)
        if place is not None:
            _layers.set((*layers[:place], *layers[place + 1 :]))

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: _F) -> _F:
        """Decorates a function or a coroutine function. A generator would leave the scope before it runs."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__qualname__} is a generator: write `with bridge.context(...):` inside it")
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await function(*args, **kwargs)

            return run_async  # type: ignore[return-value]

        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return run  # type: ignore[return-value]


def context(**values: Any) -> Scope:
    """Adds these values to the context of all events that are caused inside.

        with bridge.context(reason="import", file=name):
            ...

    Nested contexts merge, and the inner value of a name wins. It is a decorator too, also for `async def`. The values
    must be what JSON can express, up to 20,000 characters; a date, Decimal, UUID or enum becomes text.
    """
    if taken := sorted(RESERVED & values.keys()):
        raise ValueError(f'context: the name "{taken[0]}" is the bridge\'s own; choose another one')
    plain = {name: _plain(name, value) for name, value in values.items()}
    if (size := len(json.dumps(plain))) > MOST_CHARACTERS:
        raise ValueError(
            f"context: the values have {size} characters of JSON, and the headers of a message hold {MOST_CHARACTERS}; "
            "pass a key under which the rest can be found"
        )
    return Scope(plain)


def current() -> dict[str, Any]:
    """Returns the values of all open scopes as one dict."""
    merged: dict[str, Any] = {}
    for layer in _layers.get():
        merged |= layer() if callable(layer) else layer
    return merged


def as_setting() -> str:
    """Returns the text for the setting `bridge.context`; empty if no scope is open.

    It has ASCII characters only, because any database can store these, whatever its encoding.
    """
    if not _layers.get():
        return ""
    values = current()
    return json.dumps(values) if values else ""


def opened() -> tuple[Layer, ...]:
    """Returns the open scopes, the innermost last."""
    return _layers.get()


def replaced(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Opens these scopes instead of those that are open, which it returns."""
    before = _layers.get()
    _layers.set(layers)
    return before


def _plain(name: str, value: Any) -> Any:
    """Returns the value as JSON expresses it; raises TypeError or ValueError if JSON or PostgreSQL can't."""
    try:
        text = msgspec.json.encode(value)
        plain = msgspec.json.decode(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f'context: JSON can\'t express the value of "{name}": {error}') from error
    if depth_exceeds(plain):
        raise ValueError(f'context: the value of "{name}" can\'t be used: {TOO_DEEP}')
    if b"\\u0000" in text and has_nul(plain):
        raise ValueError(f'context: the value of "{name}" has a NUL character, which PostgreSQL can\'t store')
    return plain


def has_nul(value: Any) -> bool:
    """Whether a text in this JSON value has a NUL character."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(has_nul(name) or has_nul(inner) for name, inner in value.items())
    return isinstance(value, list) and any(has_nul(inner) for inner in value)
