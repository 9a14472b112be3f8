"""Asynchronous tests run on asyncio, the only loop that psycopg knows."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
