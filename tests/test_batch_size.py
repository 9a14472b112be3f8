"""The size of batches follows the number of events that the broker accepts in a tenth of a second."""

import pytest

from bridge.stream.batch_size import BatchSize


def after(size: BatchSize, *rates: float) -> list[int]:
    """Returns the sizes after full batches that were delivered at these rates, in events per second."""
    sizes = []
    for rate in rates:
        size.learn(size.now, size.now / rate)
        sizes.append(size.now)
    return sizes


def test_it_doubles_up_to_the_largest_while_the_broker_is_quick() -> None:
    assert after(BatchSize(5_000), *[50_000] * 5) == [1_000, 2_000, 4_000, 5_000, 5_000]


def test_it_settles_at_a_tenth_of_a_second() -> None:
    assert after(BatchSize(5_000), *[20_000] * 4) == [1_000, 2_000, 2_000, 2_000]


@pytest.mark.parametrize("rate", [1_000, 1e-6])
def test_it_falls_at_once_when_the_broker_slows_down_or_was_away(rate: float) -> None:
    assert after(BatchSize(5_000), 50_000, 50_000, rate)[-1] == 500


def test_one_that_is_not_full_tells_nothing() -> None:
    size = BatchSize(5_000)
    size.learn(1, 10)
    size.learn(499, 1e-9)
    assert size.now == 500


@pytest.mark.parametrize("largest", [1, 20, 500])
def test_a_largest_below_the_first_stays(largest: int) -> None:
    assert after(BatchSize(largest), 50_000, 0.1) == [largest, largest]


def test_no_time_at_all_is_quick() -> None:
    size = BatchSize(5_000)
    size.learn(500, 0)
    assert size.now == 1_000
