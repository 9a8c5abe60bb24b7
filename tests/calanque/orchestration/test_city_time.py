"""A page of Airflow's is given the city's time zone; what is no page passes as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from calanque.orchestration.plugins.city_time import CityTime

PAGE = "<html><head><title>é</title></head><body></body></html>"
HTML = {"accept": "text/html"}


async def page(_: object) -> HTMLResponse:
    return HTMLResponse(PAGE)


async def data(_: object) -> JSONResponse:
    return JSONResponse({"head": "</head>"})


async def stream(_: object) -> StreamingResponse:
    return StreamingResponse(iter([b"<html></head>", b"more"]), media_type="text/html")


@pytest.fixture
def client() -> Iterator[TestClient]:
    app = Starlette(routes=[Route("/page", page), Route("/data", data), Route("/stream", stream)])
    with TestClient(CityTime(app)) as client:  # type: ignore[arg-type]
        yield client


def test_a_page_sets_the_citys_time_before_it_begins(client: TestClient) -> None:
    answer = client.get("/page", headers=HTML)
    script = r"""localStorage.getItem("timezone") ?? localStorage.setItem("timezone", "\"Europe/Paris\"")"""
    assert answer.text == PAGE.replace("</head>", f"<script>{script}</script></head>")
    assert answer.headers["content-length"] == str(len(answer.content))


@pytest.mark.parametrize(("path", "headers"), [("/data", HTML), ("/page", {"accept": "*/*"}), ("/stream", HTML)])
def test_what_is_no_page_passes_as_it_is(client: TestClient, path: str, headers: dict[str, str]) -> None:
    assert "<script>" not in client.get(path, headers=headers).text
