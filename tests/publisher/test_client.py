"""A broker whose client library is missing: the error names the command that installs it."""

import pytest

from bridge.errors import ConfigError
from bridge.publisher import Publisher, publisher


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+socket", "sentinel"])
def test_the_redis_client_is_missing(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kombu.transport.redis.redis", None)
    monkeypatch.setattr(publisher, "find_spec", lambda _: None)
    with pytest.raises(ConfigError) as caught:
        Publisher(f"{scheme}://host/0")
    assert str(caught.value) == f"{scheme}:// needs the Redis client: pip install 'commit-bridge[redis]'"
