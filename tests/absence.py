"""What a test does when a server isn't at hand: it is skipped, or fails when everything has to be there."""

import os
from typing import NoReturn

import pytest


def absent(server: str, reason: str) -> NoReturn:
    if os.environ.get("BRIDGE_TEST_REQUIRE") == "all":
        pytest.fail(f"{server} is required (BRIDGE_TEST_REQUIRE=all), but {reason}", pytrace=False)
    pytest.skip(f"no {server}: {reason}")
