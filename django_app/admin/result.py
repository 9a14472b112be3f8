"""Result: the state of tasks, where Celery's result backend has it."""

from collections.abc import Iterable
from datetime import datetime
from threading import Lock, Thread
from typing import Any

from celery import current_app

_PATIENCE = 2.0
_MOST = 25
_one_at_a_time = Lock()


def states(task_ids: Iterable[str | None]) -> dict[str, str]:
    """Returns the states that the result backend knows.

    A backend that is down retries for a long time. So a thread of its own asks, the page waits two seconds for it, and
    no second thread starts before the first one has ended.
    """
    wanted = [each for each in task_ids if each is not None][:_MOST]
    if not wanted or not has_backend() or not _one_at_a_time.acquire(blocking=False):
        return {}
    found: dict[str, str] = {}
    thread = Thread(target=_ask, args=(wanted, found), name="bridge-results", daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return dict(found)


def has_backend() -> bool:
    return bool(current_app.conf.result_backend)


def _said(meta: dict[str, Any]) -> str:
    """Returns the state, and the time if the backend has it: most keep it as text."""
    done = meta.get("date_done")
    at = done.isoformat() if isinstance(done, datetime) else str(done or "")
    return f"{meta.get('status')} {at[:19].replace('T', ' ')}".strip()


def _ask(wanted: list[str], found: dict[str, str]) -> None:
    try:
        for each in wanted:
            meta: dict[str, Any] = current_app.backend.get_task_meta(each)
            if meta.get("status") != "PENDING":  # Celery's answer for a task that the backend does not have
                found[each] = _said(meta)
    except Exception:
        return
    finally:
        _one_at_a_time.release()
