"""A hook of MkDocs: writes llms.txt, a list of all pages for programs that read documentation (https://llmstxt.org)."""

import re
from pathlib import Path
from typing import Any

_FIRST_PARAGRAPH = re.compile(r"\A# [^\n]+\n+(.+?)(?:\n\n|\Z)", re.DOTALL)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_pages: list[tuple[str, str, str]] = []


def on_pre_build(config: Any) -> None:
    """Forgets the pages of the last build. `mkdocs serve` builds again and again."""
    _pages.clear()


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> None:
    """Remembers the title and the first paragraph of a page."""
    found = _FIRST_PARAGRAPH.match(markdown)
    summary = " ".join(_LINK.sub(r"\1", found[1]).split()) if found else ""
    title = markdown.partition("\n")[0].removeprefix("# ")
    _pages.append((title, page.url, summary))


def on_post_build(config: Any) -> None:
    """Writes llms.txt into the site."""
    lines = [f"# {config['site_name']}", "", f"> {config['site_description']}", "", "## Pages", ""]
    lines += [f"- [{title}]({url}): {summary}" for title, url, summary in _pages]
    Path(config["site_dir"], "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
