"""Skips a test whose server is missing, or fails it if every server is required."""

import os
from typing import NoReturn

import pytest


def absent(server: str, reason: str) -> NoReturn:
    if os.environ.get("BRIDGE_TEST_REQUIRE") == "all":
        pytest.fail(f"can't use {server}, which BRIDGE_TEST_REQUIRE=all requires: {reason}", pytrace=False)
    pytest.skip(f"can't use {server}: {reason}")
