"""A user of the admin's change form: over HTTP, with the real login, CSRF tokens and forms."""

from decimal import Decimal
from types import TracebackType
from typing import Self

import httpx

from demo.edit import Way
from demo.form import Form


class PageError(Exception):
    """The admin gave an unexpected answer."""


class Browser:
    def __init__(self, address: str) -> None:
        self._client = httpx.Client(base_url=address, timeout=30)

    def log_in(self, user: str, password: str) -> None:
        page = "/admin/login/?next=/admin/"
        form = Form(self._client.get(page).text).fields
        self._submit(page, {**form, "username": user, "password": password})

    def edit(self, way: Way, product_id: int) -> Decimal:
        """Saves a new price, and a new stock for each offer, with one click; returns the price."""
        page = f"/admin/catalog/{way.model.lower()}/{product_id}/change/"
        form = Form(self._client.get(page).text).fields
        if "price" not in form:
            raise PageError(f"{page} shows no product: run `manage.py seed` first")
        price = Decimal(form["price"]) + Decimal("1.25")
        for name in form:
            if name.endswith("-stock"):
                form[name] = str(int(form[name]) + 1)
        self._submit(page, {**form, "price": str(price), "_save": "Save"})
        return price

    def _submit(self, page: str, fields: dict[str, str]) -> None:
        # Browsers always send the Referer; Django checks it only over https.
        answer = self._client.post(page, data=fields, headers={"Referer": str(self._client.base_url) + page})
        if answer.status_code != httpx.codes.FOUND:
            raise PageError(f"{page} did not accept the form (status {answer.status_code}): see the server's log")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
