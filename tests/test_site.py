"""The site of the documentation: it builds without a warning, and names every page to programs that read it."""

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.fix_bridge import ROOT, environment
from tools.site_hook import without_links_to_the_repository

MKDOCS = Path(sys.executable).with_name("mkdocs")


def test_it_builds_without_a_warning_and_lists_all_pages(tmp_path: Path) -> None:
    done = subprocess.run(
        [MKDOCS, "build", "--strict", "--site-dir", tmp_path],
        check=False,
        cwd=ROOT,
        env=environment(NO_MKDOCS_2_WARNING="1"),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {str(page.relative_to(ROOT / "docs").with_suffix(".html")) for page in (ROOT / "docs").rglob("*.md")}
    listed = (tmp_path / "llms.txt").read_text()
    assert [page for page in sorted(pages) if f"]({page}): " not in listed] == []
    index = json.loads((tmp_path / "search" / "search_index.json").read_text())
    assert {entry["location"].partition("#")[0] for entry in index["docs"]} >= pages - {"index.html"}
    loaded = re.compile(
        r'<(?:script|img|iframe)[^>]* src="(?:https?:)?//|<link[^>]* rel="stylesheet"[^>]*//|class="mermaid"'
    )
    assert [page for page in sorted(pages) if loaded.search((tmp_path / page).read_text())] == [], "from other servers"


def test_a_link_that_leaves_docs_becomes_the_path_of_the_file() -> None:
    links = "[notes](../../benchmarks/README.md#idle), [why](../decisions/0001-holdable-cursor.md)"
    text = f"{links}\n```\n[a](../../b)\n```\n"
    assert without_links_to_the_repository(text, "explanation/performance.md") == (
        "notes (`benchmarks/README.md` in the repository), [why](../decisions/0001-holdable-cursor.md)\n"
        "```\n[a](../../b)\n```\n"
    )
