"""Statement: the SQL that the bridge runs. Each statement is a file."""

from importlib.resources import files


def statement(name: str, package: str = "bridge.database") -> str:
    """Returns the SQL statement in the file `sql/<name>.sql` of a package."""
    return files(package).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
