"""Nesting: how deep JSON may be.

Encoders and the protocols of brokers go down a level at a time, and each has its limit. Values within ours can be
written down by all of them, wherever that happens.
"""

MOST = 200
"""Levels of arrays and objects in one another."""

TOO_DEEP = f"its values are nested more than {MOST} levels deep"


def is_deep(text: str, value: object) -> bool:
    """Whether the value of this JSON text is nested deeper."""
    # Nearly always the text is too short for that, or its brackets are too few, and nobody has to look.
    return len(text) > MOST and text.count("[") + text.count("{") > MOST and depth_exceeds(value)


def depth_exceeds(value: object) -> bool:
    """The same for a value alone."""
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
