"""Plain English in code, messages and docs: short whole sentences, in words that are read once.

The patterns below made earlier texts hard to read. What a person reads is checked: pages, comments, docstrings, and the
strings of the program, which are its messages.
"""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A person may be "who"; a program, a statement or a table is "what" or "which".
_PERSON = (
    r"administrator|administrators|caller|anybody|anyone|attacker|author|colleague|customer|developer|developers|everybody|"
    r"everyone|man|nobody|one|operator|people|person|persons|reader|readers|somebody|someone|team|those|user|users|superuser|woman|writer"
)
BANNED = {
    "told, tell: say what happens (is notified, is configured, logs, reports, shows)": r"\b(tell|tells|told|telling)\b",
    "so many, as many: name the number": r"\b(so|as) many\b",
    "such a one: repeat the noun": r"\bsuch (a one|ones)\b",
    "whoever: name who or what it is": r"\b(whoever|whosoever)\b",
    "who, for something that is no person": rf"(?<![\w-])(?!(?:{_PERSON})\b)[\w'`)\"-]+,? who\b",
    "is no ...: write is not a ...": (
        r"(?<!\bthere )\b(is|are|was|were) no\b(?! (longer|more|fewer|less|later|earlier)\b)"
    ),
    "here is where: say what happens": r"\bhere is where\b",
    "the same without a noun": (
        r"(?<!\bis )(?<!\bare )(?<!\bstay )(?<!\bstays )"
        r"\bthe same\b(?=\s*([.,;:!?)|]|$)| (for|in|of|with|on|at|by)\b)"
    ),
}
# A docstring that begins like this has no subject: "Of a message: what else RabbitMQ ends a connection for".
_NO_SUBJECT = re.compile(r"(As|At|By|For|From|In|Into|Of|On|Out|To|Until|With|Without)\b(?! (most|least)\b)")

_TEXTS = {".md", ".sql", ".toml", ".yml", ".yaml"}
_NOT_OURS = (
    "tests/test_language.py",
    "tests/upgrades/",
    "tests/schema.sql",
    "uv.lock",
    "docs/reference/django-operations.md",
)

Place = tuple[int, str]


@cache
def files() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\n") if _is_read(name)]


def _is_read(name: str) -> bool:
    return Path(name).suffix in {".py", "", *_TEXTS} and bool(name) and not name.startswith(_NOT_OURS)


@cache
def readable(name: str) -> tuple[Place, ...]:
    """What a person reads in a file: line numbers and texts. Every pattern looks at them, and parsing is slow."""
    return tuple(_read(name))


def _read(name: str) -> Iterator[Place]:
    text = (ROOT / name).read_text(encoding="utf-8")
    if name.endswith(".py"):
        yield from _of_python(text, with_strings=not name.startswith("tests/"))
    elif Path(name).suffix in _TEXTS:
        yield from _paragraphs(text)
    elif text.startswith("#!"):
        yield from ((number, line) for number, line in enumerate(text.split("\n"), 1) if "#" in line)


def _paragraphs(text: str) -> Iterator[Place]:
    """Lines joined where a sentence goes on in the next one."""
    begin = 1
    lines: list[str] = []
    for number, line in enumerate([*text.split("\n"), ""], 1):
        bare = re.sub(r"^\s*(--|#|//)\s?", "", line)
        if not bare.strip():
            if lines:
                yield begin, " ".join(lines)
            begin = number + 1
            lines = []
        else:
            lines.append(bare.strip())


def _of_python(text: str, *, with_strings: bool) -> Iterator[Place]:
    block: list[str] = []
    begin = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if block and token.start[0] != begin + len(block):
                yield begin, " ".join(block)
                block = []
            begin = begin if block else token.start[0]
            block.append(token.string.lstrip("# "))
    if block:
        yield begin, " ".join(block)
    docstrings = _docstrings(text)
    for node in ast.walk(ast.parse(text)):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value):
            continue
        if with_strings or node.value in docstrings:
            yield node.lineno, " ".join(node.value.split())


def _docstrings(text: str) -> set[str]:
    return {
        node.value.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }


@pytest.mark.parametrize("pattern", BANNED)
def test_no_text_has_a_banned_pattern(pattern: str) -> None:
    found = [
        f"{name}:{number}: ...{text[max(0, match.start() - 40) : match.end() + 40]}..."
        for name in files()
        for number, text in readable(name)
        for match in re.finditer(BANNED[pattern], text, re.IGNORECASE)
    ]
    assert found == [], f"{pattern}\n" + "\n".join(found)


def test_a_docstring_has_a_subject() -> None:
    found = [
        f"{name}: {docstring.split(chr(10))[0]}"
        for name in files()
        if name.endswith(".py")
        for docstring in _docstrings((ROOT / name).read_text(encoding="utf-8"))
        if _NO_SUBJECT.match(docstring)
    ]
    assert found == [], "\n".join(sorted(found))
