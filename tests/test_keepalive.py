"""The server's side of the keepalives needs no configuration, as docs/howto/deploy.md says."""

import pytest
from psycopg.conninfo import make_conninfo

from bridge.database.connect import connect
from tools.servers import Postgres

THEIRS = "-c tcp_keepalives_idle=999 -c tcp_keepalives_interval=999 -c tcp_keepalives_count=9 -c tcp_user_timeout=0"
OURS = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15000",
}


@pytest.mark.anyio
@pytest.mark.parametrize("options", ["", THEIRS], ids=["", "url"])
async def test_a_session_sets_its_own_keepalives_whatever_the_url_says(options: str) -> None:
    with Postgres(tcp=True) as server:
        async with connect(make_conninfo(server.dsn(), options=options), "test") as connection:
            rows = {name: await (await connection.execute(f"show {name}".encode())).fetchone() for name in OURS}
    assert rows == {name: (value,) for name, value in OURS.items()}
