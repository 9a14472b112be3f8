"""Reads the Dockerfile: its stages, each with a list of instructions."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Stage:
    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [rest for instruction, rest in self.instructions if instruction == name]


def instructions() -> list[tuple[str, str]]:
    """Returns the name and the arguments of each instruction, without comments and with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines if line)]


def stages() -> dict[str, Stage]:
    found: dict[str, Stage] = {}
    for name, rest in instructions():
        if name == "FROM":
            base, _, stage = rest.partition(" AS ")
            found[stage] = Stage(stage, base)
        elif found:
            list(found.values())[-1].instructions.append((name, rest))
    return found


def inherited(stage: str) -> list[tuple[str, str]]:
    """Returns the instructions of the stage after those of its base stages."""
    found = stages()
    return inherited(found[stage].base) + found[stage].instructions if stage in found else []


def last(stage: str, name: str) -> str | None:
    """Returns the last instruction with this name (CMD, USER, HEALTHCHECK, ...), which is the one that applies."""
    rests = [rest for instruction, rest in inherited(stage) if instruction == name]
    return rests[-1] if rests else None


def exec_form(rest: str) -> list[str]:
    """Returns the words of CMD ["a", "b"], without the options before it."""
    words: list[str] = json.loads(rest[rest.index("[") :])
    return words


def environment(stage: str) -> dict[str, str]:
    pairs = [pair for name, rest in inherited(stage) if name == "ENV" for pair in rest.split()]
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
