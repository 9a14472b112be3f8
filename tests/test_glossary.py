"""The glossary has every noun of the code: the public classes of bridge/."""

import re

from tests.fix_bridge import ROOT

CLASS = re.compile(r"^class ([A-Z]\w*)", re.MULTILINE)
# Names of the libraries, and the other names of a word: an error, or one kind of a word such as a sender.
KINDS = re.compile(r"\w+(Error|Sender|Router)|Templates|Targets|DeadLetters")


def words() -> set[str]:
    """Returns the words of the glossary, without spaces and in lower case."""
    page = (ROOT / "docs" / "explanation" / "glossary.md").read_text()
    cells = re.findall(r"^\| ([A-Z][^|]*) \|", page, re.MULTILINE)
    return {re.sub(r"\W", "", word).lower() for cell in cells for word in cell.split(",")}


def test_the_glossary_has_each_class() -> None:
    files = sorted((ROOT / "bridge").rglob("*.py"))
    names = {name for file in files for name in CLASS.findall(file.read_text()) if not KINDS.fullmatch(name)}
    assert len(names) > 30
    assert sorted(name for name in names if name.lower() not in words()) == []


def test_each_word_of_the_glossary_is_used_in_the_code() -> None:
    sources = [file for folder in ("bridge", "django_app") for file in (ROOT / folder).rglob("*.py")]
    text = " ".join(re.sub(r"[\s_-]", "", file.read_text()).lower() for file in [*sources, ROOT / "triggers.sql"])
    assert sorted(word for word in words() if word not in text) == []
