"""A hook of MkDocs: writes llms.txt, a list of all pages for programs that read documentation (https://llmstxt.org).

It also replaces links that leave docs/, which work in a checkout only: the site shows the path of the file instead.
"""

import re
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any

_FIRST_PARAGRAPH = re.compile(r"\A# [^\n]+\n+(.+?)(?:\n\n|\Z)", re.DOTALL)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_RELATIVE_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)\s#]+)(?:#[^)\s]*)?\)")
_pages: list[tuple[str, str, str]] = []


def on_pre_build(config: Any) -> None:
    """Forgets the pages of the last build. `mkdocs serve` builds again and again."""
    _pages.clear()


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Remembers the title and the first paragraph of a page. Replaces its links that leave docs/."""
    found = _FIRST_PARAGRAPH.match(markdown)
    summary = " ".join(_LINK.sub(r"\1", found[1]).split()) if found else ""
    title = markdown.partition("\n")[0].removeprefix("# ")
    _pages.append((title, page.url, summary))
    return without_links_to_the_repository(markdown, page.file.src_uri)


def without_links_to_the_repository(markdown: str, place: str) -> str:
    """Returns the text of the page at `place` (relative to docs/), with paths instead of links that leave docs/."""

    def replaced(link: re.Match[str]) -> str:
        target = normpath(join("docs", dirname(place), link[2]))
        return link[0] if target.startswith("docs/") else f"{link[1]} (`{target}` in the repository)"

    parts = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _RELATIVE_LINK.sub(replaced, part) for part in parts)


def on_post_build(config: Any) -> None:
    """Writes llms.txt into the site."""
    lines = [f"# {config['site_name']}", "", f"> {config['site_description']}", "", "## Pages", ""]
    lines += [f"- [{title}]({url}): {summary}" for title, url, summary in _pages]
    Path(config["site_dir"], "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
