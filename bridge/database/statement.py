"""Statement: the SQL that the bridge runs. Each statement is a file."""

from importlib.resources import files


def statement(name: str) -> str:
    """Returns the SQL statement in `bridge/database/sql/<name>.sql`."""
    return files("bridge.database").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
