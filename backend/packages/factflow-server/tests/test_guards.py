"""The guards every request passes, around a small application."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from factflow_server.middleware.body_limit import BodyLimitMiddleware
from factflow_server.middleware.correlation import (
    HEADER,
    CorrelationMiddleware,
    correlation_id,
)
from factflow_server.middleware.loopback import LoopbackMiddleware
from factflow_server.middleware.request_head import RequestHeadMiddleware
from factflow_server.settings import HostRefusedError, check_host, is_loopback

JSON = {"Content-Type": "application/json"}


async def echo(request: Request) -> Response:
    return PlainTextResponse(f"{correlation_id()} {len(await request.body())}")


async def explode(_: Request) -> Response:
    raise RuntimeError("password is hunter2")


def refuse(status: int, code: str, detail: str, hint: str) -> Response:
    return JSONResponse({"detail": detail, "error_code": code}, status_code=status)


def hide(_: BaseException) -> Response:
    return JSONResponse({"error_code": "internal_error"}, status_code=500)


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    app = Starlette(routes=[Route("/", echo, methods=["GET", "POST"]), Route("/explode", explode)])
    app.add_middleware(BodyLimitMiddleware, limit=10)
    app.add_middleware(RequestHeadMiddleware, refuse=refuse)
    app.add_middleware(LoopbackMiddleware, refuse=refuse)
    app.add_middleware(CorrelationMiddleware, on_error=hide)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:1", "[::1]:8000", "127.8.8.8"])
async def test_this_machine_may_ask(client: httpx2.AsyncClient, host: str) -> None:
    assert (await client.get("/", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:8000", "10.0.0.1:8000", "", "[::1", "0.0.0.0"]
)
async def test_a_host_name_that_was_bent_to_this_machine_is_refused(
    client: httpx2.AsyncClient, host: str
) -> None:
    answer = await client.get("/", headers={"Host": host})
    assert (answer.status_code, answer.json()["error_code"]) == (403, "host_refused")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example"]
)
async def test_pages_of_other_origins_are_refused(client: httpx2.AsyncClient, origin: str) -> None:
    answer = await client.post("/", headers={"Origin": origin})
    assert (answer.status_code, answer.json()["error_code"]) == (403, "origin_refused")


async def test_pages_of_this_machine_may_ask(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/", headers={"Origin": "http://localhost:5173"})
    assert answer.status_code == 200


async def test_a_request_that_the_browser_calls_cross_site_is_refused(
    client: httpx2.AsyncClient,
) -> None:
    """A picture or a link of another page comes without `Origin`."""
    answer = await client.get("/", headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.json()["error_code"]) == (403, "origin_refused")


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None],
)
async def test_a_form_of_a_web_page_is_refused(
    client: httpx2.AsyncClient, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = await client.post("/", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["error_code"]) == (415, "unsupported_media_type")


async def test_long_urls_and_headers_are_refused(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/?" + "q" * 17_000)).status_code == 414
    assert (await client.get("/", headers={"X-Long": "q" * 33_000})).status_code == 431


async def test_a_body_over_the_limit_is_refused(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/", content=b"x" * 10, headers=JSON)).status_code == 200
    assert (await client.post("/", content=b"x" * 11, headers=JSON)).status_code == 413


async def test_a_body_that_does_not_tell_its_length_is_counted(client: httpx2.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"xxxx"

    assert (await client.post("/", content=pieces(), headers=JSON)).status_code == 413


async def test_the_clients_correlation_id_is_kept(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/", headers={HEADER: "order-66"})
    assert answer.headers[HEADER] == "order-66"
    assert answer.text.startswith("order-66 ")


@pytest.mark.parametrize("hostile", ["a b", "x" * 65, "<script>", "\x7f"])
async def test_a_hostile_correlation_id_is_replaced(
    client: httpx2.AsyncClient, hostile: str
) -> None:
    answer = await client.get("/", headers={HEADER: hostile})
    assert answer.headers[HEADER] not in {"", hostile}


async def test_an_unforeseen_error_is_answered_under_its_correlation_id(
    client: httpx2.AsyncClient,
) -> None:
    answer = await client.get("/explode", headers={HEADER: "order-66"})
    assert (answer.status_code, answer.headers[HEADER]) == (500, "order-66")
    assert "hunter2" not in answer.text


def test_only_loopback_is_listened_on() -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        assert check_host(host) == host
        assert is_loopback(host)
    for host in ("0.0.0.0", "192.168.1.5", "example.org", "::", ""):
        with pytest.raises(HostRefusedError, match="loopback"):
            check_host(host)
