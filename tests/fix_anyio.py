"""Asynchronous tests run on asyncio, the only event loop that psycopg supports."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
