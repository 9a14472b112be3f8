"""Doctor: finds what is wrong with an installation. Each problem names the command that mends it."""

from collections.abc import Sequence

from bridge.operations.streams import StreamStatus


def problems(streams: Sequence[StreamStatus], drift: Sequence[str]) -> list[str]:
    """Returns one sentence per problem. `drift` has the names of watches that do not fit their table."""
    found = [f'watch "{name}" does not fit its table any more; run `bridge apply`' for name in drift]
    for s in streams:
        if s.owner_pid is None and s.watches:
            found.append(f'stream "{s.stream}": nobody serves it; start `bridge run`')
        if s.broker_away_since is not None:
            since = f"{s.broker_away_since:%Y-%m-%d %H:%M:%S}"
            found.append(f'stream "{s.stream}": the broker has refused messages since {since}: {s.broker_error}')
        if s.dead_letters:
            found.append(f'stream "{s.stream}": {s.dead_letters} dead letters; see `bridge dead-letters list`')
    return found
