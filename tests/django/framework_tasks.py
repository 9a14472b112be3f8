"""Tasks of Django's framework, for tests of the backend."""

import sys
from datetime import datetime
from typing import Any

from django.tasks import TaskContext, task


@task()
def noop(*args: Any, **kwargs: Any) -> None:
    return None


@task()
async def noop_async(*args: Any, **kwargs: Any) -> str:
    return "async"


@task()
def double(value: Any) -> Any:
    return value * 2


@task()
def fails() -> None:
    raise ValueError("as asked")


@task()
def unserializable() -> object:
    return object()


@task()
def leaves() -> None:
    sys.exit(3)


@task(takes_context=True)
def attempt_of(context: "TaskContext[..., Any]", name: str) -> list[Any]:
    result = context.task_result
    return [name, context.attempt, result.id, isinstance(result.enqueued_at, datetime)]
