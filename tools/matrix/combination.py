"""Combination: one version each of Python, Django and Celery."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

PYTHONS = ("3.11", "3.12", "3.13")
DJANGOS = ("5.2", "6.0", "6.1")
NEWEST = "newest"
CELERYS = ("5.5", NEWEST)

# The oldest Python that a Django version supports, if it is newer than the oldest Python that we support.
_NEEDS = {"6.0": "3.12", "6.1": "3.12"}


@dataclass(frozen=True)
class Combination:
    python: str
    django: str
    celery: str

    @property
    def name(self) -> str:
        return f"python{self.python}-django{self.django}-celery{self.celery}"


def combinations(
    pythons: Sequence[str] = PYTHONS, djangos: Sequence[str] = DJANGOS, celerys: Sequence[str] = CELERYS
) -> Iterator[Combination]:
    """Yields the combinations that are possible: Django 6 does not support Python 3.11."""
    for python, django, celery in product(pythons, djangos, celerys):
        if _numbers(python) >= _numbers(_NEEDS.get(django, python)):
            yield Combination(python, django, celery)


def newest() -> Combination:
    return Combination(PYTHONS[-1], DJANGOS[-1], CELERYS[-1])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
