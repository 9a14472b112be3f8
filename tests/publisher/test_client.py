"""A broker's address that can't be used: the error says what to change, and shows no part of a password."""

import pytest

from bridge.errors import ConfigError
from bridge.publisher import Publisher, broker
from bridge.publisher.workers import ask


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+socket", "sentinel"])
def test_the_redis_client_is_missing(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kombu.transport.redis.redis", None)
    monkeypatch.setattr(broker, "find_spec", lambda _: None)
    with pytest.raises(ConfigError) as caught:
        Publisher(f"{scheme}://host/0")
    assert str(caught.value) == f"{scheme}:// needs the Redis client: pip install 'commit-bridge[redis]'"


@pytest.mark.parametrize("scheme", ["amqp", "amqps", "pyamqp", "redis", "rediss"])
@pytest.mark.parametrize("password", ["p@ss/w:o%rd#1", "a/b", "a?b", "a#b", "a#@b", "/", "1/"])
def test_a_password_that_is_not_encoded(scheme: str, password: str) -> None:
    for url in (f"{scheme}://guest:{password}@host/0", f"{scheme}://good:good@host;{scheme}://:{password}@host"):
        for use in (Publisher, lambda url: ask({}, url, None)):
            with pytest.raises(ConfigError, match="write / as %2F") as caught:
                use(url)
            assert "o%rd" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["amqp://guest:p@ss@host/v", "redis+socket:///tmp/a@b", "redis://:p@ss@host/0", "amqp://host/v@x", "memory://"],
)
def test_an_address_that_is_usable_is_used(url: str) -> None:
    assert Publisher(url).address
