"""The fields of an HTML form and their values, as a browser sees them."""

from html.parser import HTMLParser


class Form(HTMLParser):
    """The named fields of a page. An admin page has one form that matters, and its field names are unique."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._select: str | None = None
        self._textarea: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name") or ""
        value = given.get("value") or ""
        if tag == "input" and name and given.get("type") not in {"submit", "button", "checkbox", "radio"}:
            self.fields[name] = value
        elif tag == "input" and name and "checked" in given:
            self.fields[name] = value or "on"
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select and "selected" in given:
            self.fields[self._select] = value
        elif tag == "textarea":
            self._textarea = name
            self.fields[name] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = None
        elif tag == "textarea":
            self._textarea = None

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self.fields[self._textarea] += data
