"""Fate: what became of an event, in words."""

from django.utils.html import format_html
from django.utils.safestring import SafeString

from django_app.admin.log import Logged
from django_app.admin.show import moment

WORDS = {
    "waits": "waits",
    "published": "published",
    "skipped": "skipped",
    "dead": "dead letter",
    "retried": "retried",
    "discarded": "discarded",
}


def badge(logged: Logged) -> SafeString:
    """Returns the fate as one word. Its colour only repeats what the word says."""
    return format_html(
        '<span class="bridge-fate bridge-{}">{}</span>', logged.fate, WORDS.get(logged.fate, logged.fate)
    )


def story(logged: Logged) -> SafeString:
    """Returns the fate, and what is known about it, as a sentence."""
    by = logged.decided_by
    said: str
    match logged.fate:
        case "waits":
            said = "It is committed, and the bridge has not published it yet."
        case "published" if logged.coalesces:
            said = (
                "The broker has confirmed its task. The watch coalesces events: a later event of this key, which was "
                "read together with this one, may stand for it, with its own task id."
            )
        case "published":
            said = "The broker has confirmed its task."
        case "skipped":
            said = (
                "It starts no task: the watch is in shadow mode, or its own task wrote this change, and the watch says "
                'own_writes = "ignore".'
            )
        case "dead":
            said = format_html("It could not be published ({}): {}", moment(logged.since), logged.reason)
        case "retried":
            said = format_html(
                "It could not be published: {} It was retried {}{}, and is in the log a second time.",
                _sentence(logged.reason),
                moment(logged.since),
                f" by {by}" if by else "",
            )
        case _:
            said = format_html(
                "It could not be published: {} It was discarded {}{}, so its task never starts.",
                _sentence(logged.reason),
                moment(logged.since),
                f" by {by}" if by else "",
            )
    return format_html("{} {}", badge(logged), said)


def _sentence(text: str | None) -> str:
    return f"{(text or '').rstrip('.')}."
