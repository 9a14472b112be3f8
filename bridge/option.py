"""Options: what the commands share - options, the way a coroutine is run, JSON for programs."""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial, update_wrapper
from typing import Any, TypeVar

import anyio
import click
import msgspec

from bridge.errors import BridgeError, ConfigError

T = TypeVar("T")

database_url = click.option(
    "--database-url",
    envvar=["BRIDGE_DATABASE_URL", "DATABASE_URL"],
    show_envvar=True,
    metavar="URL",
    help="PostgreSQL, as postgresql://user:password@host/name.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")


def setting(flag: str, *names: str, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option that can be given as an environment variable too: --log-level is BRIDGE_LOG_LEVEL."""
    variable = "BRIDGE_" + flag.removeprefix("--").replace("-", "_").upper()
    return click.option(flag, *names, **{"envvar": variable, "show_envvar": True, "show_default": True, **attributes})


def asynchronous(command: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., T]:
    """Runs a command's coroutine; an error of ours becomes one sentence and exit code 2."""

    def run(*args: Any, **kwargs: Any) -> T:
        try:
            return anyio.run(partial(command, *args, **kwargs))
        except BridgeError as error:
            raise click.ClickException(str(error)) from error

    return update_wrapper(run, command)


def required(database_url: str | None) -> str:
    """The address, or a ConfigError that says how to give it."""
    if not database_url:
        raise ConfigError("no database: give --database-url (BRIDGE_DATABASE_URL)")
    return database_url


def print_json(value: object) -> None:
    """Indented; what JSON has no type for goes as text."""
    encoded = msgspec.json.encode(value, enc_hook=str)
    # Values that are nested too deeply to be indented are printed as they are.
    with suppress(RecursionError):
        encoded = msgspec.json.format(encoded)
    click.echo(encoded.decode())
