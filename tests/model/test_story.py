"""Random histories: the log holds exactly what a model in plain Python expects, and relays read each event once."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fix_postgres import PgServer, on_pg18
from tests.model.performance import play
from tests.model.stage import Stage
from tests.model.story import Story, stories

_SOAK_EXAMPLES = int(os.environ.get("BRIDGE_SOAK_EXAMPLES", "2000"))
_SOAK_PARTS = 4  # the parts run in parallel in the processes of the test runner
_SETTINGS = settings(deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def stage(pg_server: PgServer) -> Iterator[Stage]:
    database = pg_server.create(pg_server.template())
    with Stage.open(database) as stage:
        yield stage
    pg_server.drop(database.name)


@on_pg18
@pytest.mark.timeout(600)  # making a failing example smaller takes a while
@settings(_SETTINGS, max_examples=40)
@given(stories())
def test_the_log_of_a_random_history_is_what_the_model_expects(stage: Stage, story: Story) -> None:
    play(stage, story)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(_SOAK_PARTS))
def test_thousands_of_random_histories_differ_nowhere(stage: Stage, part: int) -> None:
    @settings(_SETTINGS, max_examples=-(-_SOAK_EXAMPLES // _SOAK_PARTS), database=None)
    @given(stories())
    def histories(story: Story) -> None:
        play(stage, story)

    histories()
