"""Middleware: a change that happens during a request has the request and its user as its context."""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

from bridge.scope import Scope
from django_app.request import RequestValues


class ContextMiddleware:
    """Works with sync and async views. Put it after AuthenticationMiddleware."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._answer(request)
        with Scope(RequestValues(request)):
            response: HttpResponseBase = self._get_response(request)
            return response

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        with Scope(RequestValues(request)):
            response: HttpResponseBase = await self._get_response(request)
            return response
