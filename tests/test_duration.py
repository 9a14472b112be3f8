"""Durations as people write them."""

import click
import pytest

from bridge.cli.duration import duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("24h", 86400), ("30m", 1800), ("90s", 90), ("90", 90), ("0.5", 0.5), ("500ms", 0.5), ("7d", 604800),
        ("1h30m", 5400), ("1.5h", 5400), (" 2H ", 7200), ("0", 0),
    ],
)  # fmt: skip
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert duration()(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "24 hours", "-1", "1h 30m", "1w", "one", "1e3", "30m!", "nan", "inf"])
def test_what_is_none_names_the_fix(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"is not a duration\. Use 90s, 30m, 1h30m"):
        duration()(text)


def test_bounds_are_included_and_named() -> None:
    bounded = duration("1m", "24h")
    assert (bounded("60"), bounded("24h")) == (60, 86400)
    with pytest.raises(click.BadParameter, match="59s is too short: give 1m or more"):
        bounded("59s")
    with pytest.raises(click.BadParameter, match="2d is too long: give 24h or less"):
        bounded("2d")
