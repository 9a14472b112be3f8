"""The option that renews the pictures of the documentation, which tests take."""

from pathlib import Path

import pytest

IMAGES = Path(__file__).parent.parent / "docs" / "images"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew-images", action="store_true", help="rewrite the pictures in docs/images that tests take")


@pytest.fixture
def images(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Returns the folder for pictures: that of the documentation only if they are renewed."""
    return IMAGES if request.config.getoption("--renew-images") else tmp_path
