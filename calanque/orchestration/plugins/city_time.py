"""Airflow's pages show the city's time to everybody who has not chosen another, wherever their browser is.

Airflow has no setting for it: a browser keeps the time zone that its user chose, and begins with its own.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from infra.city.profiles import time_zone
from infra.settings import Settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

KEY = "timezone"
"""Where a browser keeps the time zone that its user chose."""


class CityTime:
    """ASGI middleware: a page says to the browser, before it begins, which time zone to show if none was chosen."""

    def __init__(self, app: App) -> None:
        self._app = app
        chosen = json.dumps(json.dumps(time_zone(Settings())))  # the text of a JSON value, as JavaScript has texts
        self._script = (
            f'<script>localStorage.getItem("{KEY}") ?? localStorage.setItem("{KEY}", {chosen})</script>'.encode()
        )

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        if scope["type"] != "http" or b"text/html" not in headers.get(b"accept", b""):
            await self._app(scope, receive, send)
            return
        begun: list[Message] = []

        async def send_page(message: Message) -> None:
            if message["type"] == "http.response.start":
                begun.append(message)
                return
            if begun:
                start, body = begun.pop(), message.get("body", b"")
                kind = dict(start["headers"]).get(b"content-type", b"")
                if kind.startswith(b"text/html") and not message.get("more_body"):
                    message["body"] = body.replace(b"</head>", self._script + b"</head>", 1)
                    length = str(len(message["body"])).encode()
                    start["headers"] = [
                        (name, length if name.lower() == b"content-length" else value)
                        for name, value in start["headers"]
                    ]
                await send(start)
            await send(message)

        await self._app(scope, receive, send_page)


class CalanqueCityTime(AirflowPlugin):
    """What Airflow finds in this folder."""

    name = "calanque_city_time"
    fastapi_root_middlewares = [  # noqa: RUF012 (as the base class has it)
        {"middleware": CityTime, "args": [], "kwargs": {}, "name": "city time"}
    ]
