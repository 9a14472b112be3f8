"""The command `bridge tail`."""

import click
import msgspec

from bridge.call import as_argument
from bridge.cli.options import as_json, asynchronous, database_url, required
from bridge.database.connect import connect
from bridge.errors import ConfigError
from bridge.operations import installation, streams
from bridge.reason import shown
from bridge.stream.tail import tail as follow


@click.command()
@database_url
@click.option("--stream", default="default", show_default=True, help="Show the events of this stream.")
@as_json
@asynchronous
async def tail(database_url: str | None, stream: str, as_json: bool) -> None:
    """Show events as they are committed, until Ctrl-C. The relay still delivers them."""
    async with connect(required(database_url), "catalog") as connection:
        await installation.require(connection)
        existing = await streams.names(connection)
    if stream not in existing:
        raise ConfigError(f'stream "{stream}" does not exist; the streams are: {", ".join(existing)}')
    async for event in follow(required(database_url), stream):
        if as_json:
            click.echo(msgspec.json.encode(as_argument(event)))
        else:
            key = msgspec.json.encode(event.key).decode()
            data = event.flaw or ("" if event.data is None else msgspec.json.encode(event.data).decode())
            click.echo(shown(f"{event.at:%H:%M:%S.%f} #{event.id} {event.watch} {event.op} {key} {data}".rstrip()))
