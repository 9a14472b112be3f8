"""Show: values as the pages show them."""

import json
from datetime import datetime
from typing import Any

from django.utils.dateformat import format as date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import is_aware, localtime

from bridge.nesting import is_deep

NOTHING = "-"


def moment(at: datetime | None) -> SafeString | str:
    """Returns a time with seconds, in the time zone of the site."""
    if at is None:
        return NOTHING
    local = localtime(at) if is_aware(at) else at
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        local.isoformat(),
        local.isoformat(sep=" "),
        date_format(local, "Y-m-d H:i:s"),
    )


def parsed(text: str | None) -> Any:
    """Returns the value of a JSON text; the text itself if Python can't read it. Half of a character, which no page can
    have, stays an escape."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if is_deep(text, value):
        return text
    return _whole(value) if "\\ud" in text.lower() else value


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return {_whole(name): _whole(each) for name, each in value.items()} if isinstance(value, dict) else value


def one_line(value: Any) -> str:
    """Returns a JSON value as a person writes it: a text without quotes, and everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def key_text(key: Any) -> str:
    """Returns the values of a key with commas."""
    return ", ".join(one_line(value) for value in key) if isinstance(key, list) else NOTHING


def pretty(value: Any) -> SafeString | str:
    """Returns a value as indented JSON."""
    if value is None:
        return NOTHING
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    return code(text)


def code(text: str) -> SafeString:
    return format_html('<pre class="bridge-code" tabindex="0">{}</pre>', text)
