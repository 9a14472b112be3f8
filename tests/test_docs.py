"""The documentation names everything that exists, and all its links lead somewhere."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import pytest

from bridge.cli.main import cli
from bridge.stream.listener import Wakeup
from bridge.telemetry.health import State
from bridge.telemetry.prometheus import Metrics
from bridge.watch import Watch, read_toml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), ROOT / "benchmarks" / "README.md", *sorted(DOCS.rglob("*.md"))]
TRIGGERS = (ROOT / "triggers.sql").read_text(encoding="utf-8")
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def reference(name: str) -> str:
    return (DOCS / "reference" / f"{name}.md").read_text(encoding="utf-8")


def headings(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^#+ (.+)$", text, re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Returns the anchors that GitHub makes of headings: lower case, hyphens for spaces, no other punctuation."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings(page)}


def parameters() -> Iterator[tuple[str, click.Parameter]]:
    groups = [command for command in cli.commands.values() if isinstance(command, click.Group)]
    for commands in (cli.commands, *(group.commands for group in groups)):
        for name, command in commands.items():
            for parameter in command.params:
                yield name, parameter


def flags() -> set[str]:
    return {flag for _, parameter in parameters() for flag in parameter.opts if flag.startswith("--")}


def variables() -> set[str]:
    found: set[str] = set()
    for _, parameter in parameters():
        given = parameter.envvar or []
        found.update([given] if isinstance(given, str) else given)
    return found


def known_options() -> set[str]:
    """Returns the options that bridge._check_options knows."""
    listed = re.search(
        r"function bridge\._check_options.*?known constant text\[\] :=\s+'\{(.+?)\}'", TRIGGERS, re.DOTALL
    )
    assert listed
    return set(re.sub(r"'\s+'", "", listed[1]).split(","))


def public_functions() -> set[str]:
    return set(re.findall(r"^create or replace function bridge\.([a-z]\w*)\(", TRIGGERS, re.MULTILINE))


def tables() -> dict[str, list[str]]:
    """Returns the columns of each table."""
    made = re.findall(
        r"^create table if not exists bridge\.(\w+) \((.*?)\)(?: with| partition|;)", TRIGGERS, re.DOTALL | re.MULTILINE
    )
    return {name: re.findall(r"^ *(?!check\b)([a-z]\w*) [a-z]", body, re.MULTILINE) for name, body in made}


def logged() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yields message, level and fields of everything that bridge/ logs. The level of `logger.log` is "varies"."""
    for path in sorted((ROOT / "bridge").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name("logger"), attr="log"), args=[_, *arguments]):
                    level = "varies"
                case ast.Call(func=ast.Attribute(value=ast.Name("logger"), attr=level), args=arguments) if (
                    level in LEVELS
                ):
                    pass
                case _:
                    continue
            message = arguments[0]
            assert isinstance(message, ast.Constant), f"{path}:{node.lineno}: a log message must be a constant"
            extra = [word.value for word in node.keywords if word.arg == "extra"]
            keys = [key for fields in extra if isinstance(fields, ast.Dict) for key in fields.keys]
            yield str(message.value), level, tuple(str(key.value) for key in keys if isinstance(key, ast.Constant))


def as_documented(message: str) -> str:
    """Returns the part of a long message that is in the table: up to the first semicolon, or up to the first value."""
    if "%" in message:
        return message.split("%", maxsplit=1)[0] + "..."
    return message if ";" not in message else message.split(";", maxsplit=1)[0] + "; ..."


def test_what_is_looked_for_is_found() -> None:
    """Each search below must find something, or a change of the source would disable its tests unnoticed."""
    assert "--retention" in flags()
    assert "BRIDGE_RETENTION" in variables()
    assert "call" in known_options()
    assert {"watch", "send", "status"} <= public_functions()
    assert {"id", "xid", "slot"} <= set(tables()["event"])
    assert {"seen", "cluster"} <= set(tables()["position"])
    assert "owner_key" in tables()["stream"]
    assert ("serving", "info", ("stream",)) in set(logged())
    assert "varies" in {level for _, level, _ in logged()}


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_commands_have_a_heading(command: str) -> None:
    assert f"`bridge {command}`" in headings(DOCS / "reference" / "commands.md")


@pytest.mark.parametrize("flag", sorted(flags()))
def test_flags_are_documented(flag: str) -> None:
    assert f"`{flag}`" in reference("settings")


@pytest.mark.parametrize("variable", sorted(variables()))
def test_variables_are_documented(variable: str) -> None:
    assert f"`{variable}`" in reference("settings")


@pytest.mark.parametrize("key", Watch.__struct_fields__)
def test_keys_of_a_watch_are_documented(key: str) -> None:
    assert f"`{key}`" in reference("watch")


def test_the_example_of_bridge_toml_is_valid_and_has_every_key(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", (DOCS / "howto" / "toml.md").read_text(encoding="utf-8"), re.DOTALL)
    assert example
    file = tmp_path / "bridge.toml"
    file.write_text(example[1], encoding="utf-8")
    assert len(read_toml(file)) == 2
    said = set(re.findall(r"^(\w+) = ", example[1], re.MULTILINE))
    assert said == set(Watch.__struct_fields__) - {"source"}


@pytest.mark.parametrize("option", sorted(known_options()))
def test_options_of_a_watch_are_documented(option: str) -> None:
    assert f"| `{option}` |" in reference("watch")


@pytest.mark.parametrize("function", sorted(public_functions()))
def test_public_functions_have_a_heading(function: str) -> None:
    assert f"`bridge.{function}`" in headings(DOCS / "reference" / "sql.md")


@pytest.mark.parametrize(("table", "columns"), sorted(tables().items()))
def test_tables_and_their_columns_are_documented(table: str, columns: list[str]) -> None:
    text = reference("sql")
    assert f"### `bridge.{table}`" in text
    assert [column for column in columns if f"`{column}`" not in text] == []


@pytest.mark.parametrize("metric", list(Metrics().registry.collect()), ids=lambda metric: metric.name)
def test_metrics_are_documented(metric: object) -> None:
    name, kind = getattr(metric, "name", ""), getattr(metric, "type", "")
    assert f"| `{name}{'_total' if kind == 'counter' else ''}` |" in reference("metrics")


@pytest.mark.parametrize("state", [state.value for state in State])
def test_states_are_documented(state: str) -> None:
    assert f"| `{state}` |" in reference("metrics")


@pytest.mark.parametrize(("message", "level", "fields"), sorted(set(logged())))
def test_log_messages_are_documented(message: str, level: str, fields: tuple[str, ...]) -> None:
    listed = ", ".join(f"`{field}`" for field in fields)
    levels = r"[A-Z]+(, then [A-Z]+)+" if level == "varies" else level.upper()
    row = rf"^\| {re.escape(f'`{as_documented(message)}`')} \| {levels} \| {re.escape(listed)}"
    assert re.search(row, reference("logs"), re.MULTILINE)


def test_documented_log_messages_are_logged() -> None:
    listed = re.findall(r"^\| `(.+?)` \|", reference("logs"), re.MULTILINE)
    assert len(listed) > 10
    assert set(listed) - {as_documented(message) for message, _, _ in logged()} == set()


@pytest.mark.parametrize("wakeup", get_args(Wakeup))
def test_wake_ups_are_documented(wakeup: str) -> None:
    assert f"`{wakeup}`" in reference("logs")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_every_page_can_be_reached_from_the_index(page: Path) -> None:
    index = DOCS / "index.md"
    assert page == index or f"({page.relative_to(DOCS)})" in index.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_every_page_opens_with_what_its_reader_will_be_able_to_do(page: Path) -> None:
    opening = page.read_text(encoding="utf-8").split("\n\n")[1]
    assert opening.startswith(("After this page", "At the end of this tutorial", "From this page"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_decision_is_called_by_the_number_of_its_file(page: Path) -> None:
    links = re.findall(r"\[[^\]]*?(\d{4})[^\]]*\]\([^)]*?(\d{4})-[a-z-]+\.md", page.read_text(encoding="utf-8"))
    assert [link for link in links if link[0] != link[1]] == []


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in sorted((DOCS / "decisions").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))
