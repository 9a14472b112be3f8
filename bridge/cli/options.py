"""Options: code that the commands share. It has common options, runs coroutines, and prints JSON for programs."""

from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial, update_wrapper
from typing import Any, TypeVar

import anyio
import click
import msgspec

from bridge import secret
from bridge.errors import BridgeError, ConfigError

T = TypeVar("T")


class Project(msgspec.Struct, frozen=True):
    """What a framework knows about the installation. It is the object of click's context."""

    findings: Callable[[], list[str]]
    """Returns what is wrong with the declarations of the project."""
    command: Callable[..., str]
    """Returns the text of a command of `bridge` with these words, for a shell in the project."""


database_url = click.option(
    "--database-url",
    envvar=["BRIDGE_DATABASE_URL", "DATABASE_URL"],
    show_envvar=True,
    metavar="URL",
    help="Address of PostgreSQL, such as postgresql://user:password@host/name.",
)


class _Addresses(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """An address. A variable may have several URLs, separated by spaces; a list of key=value is one address."""

    name = "url"

    def split_envvar_value(self, value: str) -> Sequence[str]:
        return value.split() if "://" in value else [value]


database_urls = click.option(
    "--database-url",
    "database_urls",
    type=_Addresses(),
    multiple=True,
    envvar=["BRIDGE_DATABASE_URL", "DATABASE_URL"],
    show_envvar=True,
    metavar="URL",
    help="Address of PostgreSQL, such as postgresql://user:password@host/name. May be repeated: one "
    "process then serves several databases.",
)
broker_url = click.option(
    "--broker-url",
    envvar="BRIDGE_BROKER_URL",
    show_envvar=True,
    metavar="URL",
    help="Celery's broker, to ask the running workers.",
)
celery_app = click.option(
    "--app",
    "celery_app",
    envvar="BRIDGE_CELERY_APP",
    show_envvar=True,
    metavar="MODULE:APP",
    help="Your Celery app, to ask the running workers. Optional.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


lock_timeout = click.option(
    "--lock-timeout", type=click.FloatRange(min=0.001), default=3.0, show_default=True, metavar="SECONDS",
    help="Wait at most this long for a table's lock. Writers queue behind this wait.",
)  # fmt: skip


def setting(flag: str, *names: str, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns an option that an environment variable can set too: --log-level has BRIDGE_LOG_LEVEL."""
    variable = "BRIDGE_" + flag.removeprefix("--").replace("-", "_").upper()
    return click.option(flag, *names, **{"envvar": variable, "show_envvar": True, "show_default": True, **attributes})


def asynchronous(command: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., T]:
    """Makes a command that runs the coroutine. One of our errors becomes one sentence and exit code 2."""

    def run(*args: Any, **kwargs: Any) -> T:
        try:
            for address in (kwargs.get("database_url"), *kwargs.get("database_urls", ()), kwargs.get("broker_url")):
                secret.note(address)
            return anyio.run(partial(command, *args, **kwargs))
        except BridgeError as error:
            raise click.ClickException(secret.hidden(str(error))) from error

    return update_wrapper(run, command)


def required(database_url: str | None) -> str:
    """Returns the address. Raises ConfigError if it is missing."""
    if not database_url:
        raise ConfigError("the database address is missing; give --database-url, or set BRIDGE_DATABASE_URL")
    return database_url


def print_json(value: object) -> None:
    """Prints the value as indented JSON. A value that JSON has no type for is printed as text."""
    encoded = msgspec.json.encode(value, enc_hook=str)
    # A value that is nested too deeply to be indented is printed on one line.
    with suppress(RecursionError):
        encoded = msgspec.json.format(encoded)
    click.echo(encoded.decode())
