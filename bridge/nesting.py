"""Nesting: how deep JSON may be.

Encoders and the protocols of brokers recurse once per level, and each has its own limit. All of them can write values
within our limit.
"""

MOST = 200
"""Largest number of nested levels of arrays and objects."""

TOO_DEEP = f"its values are nested more than {MOST} levels deep"


def is_deep(text: str, value: object) -> bool:
    """Whether the value of this JSON text is nested deeper than the limit."""
    # Nearly always the text is too short, or has too few brackets. Then there is nothing to search.
    return len(text) > MOST and text.count("[") + text.count("{") > MOST and depth_exceeds(value)


def depth_exceeds(value: object) -> bool:
    """Whether a value is nested deeper than the limit."""
    level = [value]
    for _ in range(MOST + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True
