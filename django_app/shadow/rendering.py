"""Rendering: shows the verdicts as lines for a person, or as JSON."""

import json
from collections.abc import Iterable
from dataclasses import asdict

from bridge.reason import shown
from django_app.shadow.verdict import MEANINGS, Example, Verdict

_WIDTH = 160


def as_lines(verdicts: Iterable[Verdict]) -> list[str]:
    """Returns the report as lines."""
    return [line for verdict in verdicts for line in _lines(verdict)]


def as_json(verdicts: Iterable[Verdict]) -> str:
    """Returns the report as JSON: a list with an object for each watch."""
    return json.dumps([{**asdict(verdict), "is_equal": verdict.is_equal} for verdict in verdicts], default=str)


def _lines(verdict: Verdict) -> Iterable[str]:
    yield f"{verdict.watch} -> {verdict.task}, since {verdict.since:%Y-%m-%d %H:%M:%S %Z}"
    if verdict.is_cut:
        yield "  There is more than can be compared at once: this is only the newest part."
    if verdict.is_full:
        yield "  The table of notes is full, so new publishes are not noted, and their changes are called missed."
        yield "  It has room again when old notes have been deleted. This needs up to 24 hours, and `bridge run`."
    yield f"  {verdict.changes:>8} changes, {verdict.publishes} publishes of the old way"
    yield f"  {verdict.equal:>8} equal"
    for kind, meaning in MEANINGS.items():
        if count := getattr(verdict, kind):
            yield f"  {count:>8} {meaning}"
            yield from (f"           {_shown(example)}" for example in verdict.examples.get(kind, ()))
    if verdict.changes == 0:
        yield "  Nothing has changed yet, so nothing is compared."
    elif verdict.is_equal:
        yield "  The old way and the watch agree."


def _shown(example: Example) -> str:
    cause = shown(" ".join((example.cause or "cause unknown").split()))
    cause = cause if len(cause) <= _WIDTH else f"{cause[: _WIDTH - 3]}..."
    times = f"{example.count} x " if example.count > 1 else ""
    return f"{times}{cause} (such as key {json.dumps(example.key, default=str)} at {example.at:%H:%M:%S.%f})"
