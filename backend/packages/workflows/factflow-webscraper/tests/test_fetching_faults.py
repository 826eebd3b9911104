"""The web scraper against a server that does everything wrong."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest

from factflow_protocols.errors import AdapterError, PermanentError, TransientError
from factflow_protocols.pipeline import AdapterEnvironment, AdapterResult, PipelineContext
from factflow_webscraper.adapters.web_scraper import WebScraperAdapter, WebScraperSettings
from factflow_webscraper.responses import retry_after
from factflow_webscraper.session import SHARED_KEY, ScrapeSession

Scrape = Callable[..., Awaitable[AdapterResult]]


@pytest.fixture
def scrape(server: Any, environment: AdapterEnvironment) -> Scrape:
    """Scrape one path of the server with the given settings."""

    async def run(path: str, **settings: Any) -> AdapterResult:
        settings.setdefault("respect_robots", False)
        adapter = WebScraperAdapter(WebScraperSettings(**settings))
        await adapter.open(environment)
        try:
            return await adapter.process(PipelineContext({"url": server.base + path}))
        finally:
            await adapter.close()

    return run


async def failure(scraped: Awaitable[AdapterResult]) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        await scraped
    assert caught.value.hint, "an error says what to do"
    return caught.value


async def test_a_page_comes_with_what_is_known_about_it(server: Any, scrape: Scrape) -> None:
    html = "<html lang=de><head><title>Größe</title></head></html>"
    server.add(
        "/page",
        html.encode("latin-1"),
        content_type="text/html; charset=latin1",
        headers={"ETag": '"e1"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"},
    )
    result = await scrape("/page#part")
    metadata = dict(result.metadata)
    fetched_at = datetime.fromisoformat(metadata.pop("fetched_at"))
    assert abs(datetime.now(UTC) - fetched_at) < timedelta(minutes=5)
    assert result.payload == html
    assert result.content_type == "text/html; charset=utf-8"
    assert metadata == {
        "url": f"{server.base}/page",
        "final_url": f"{server.base}/page",
        "redirects": [],
        "status": 200,
        "title": "Größe",
        "language": "de",
        "charset": "windows-1252",
        "content_type": "text/html; charset=latin1",
        "etag": '"e1"',
        "last_modified": "Mon, 01 Jan 2024 00:00:00 GMT",
        "bytes": len(html),
    }


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 418, 451])
async def test_a_client_error_is_final(server: Any, scrape: Scrape, status: int) -> None:
    server.add("/x", "no", status=status)
    error = await failure(scrape("/x"))
    assert isinstance(error, PermanentError)
    assert f"{server.base}/x answered {status}" in error.message


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520])
async def test_a_busy_or_broken_server_is_worth_another_attempt(
    server: Any, scrape: Scrape, status: int
) -> None:
    server.add("/x", "later", status=status, headers={"Retry-After": "7"})
    error = await failure(scrape("/x"))
    assert isinstance(error, TransientError)
    assert error.retry_after == 7.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("9" * 400, 999999999.0),
    ],
)
def test_retry_after_as_seconds(value: str, seconds: float | None) -> None:
    assert retry_after(httpx2.Headers({"Retry-After": value})) == seconds


def test_retry_after_as_a_date() -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    headers = httpx2.Headers({"Retry-After": format_datetime(moment, usegmt=True)})
    assert retry_after(headers, now=lambda: moment.timestamp() - 90) == 90
    assert retry_after(headers, now=lambda: moment.timestamp() + 90) == 0


async def test_a_body_cut_off_is_never_taken_for_the_page(server: Any, scrape: Scrape) -> None:
    server.add("/length", "<p>half", declared_length=1000, then="close")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
    server.add("/chunked", raw=head + b"Transfer-Encoding: chunked\r\n\r\n5\r\n<p>ha", then="close")
    packed = gzip.compress(b"<p>" + bytes(range(256)) * 50)[:-40]
    server.add("/gzip", raw=head + b"Content-Encoding: gzip\r\n\r\n" + packed, then="close")
    server.add("/reset", "<p>half", declared_length=1000, then="reset")
    server.add("/nothing", raw=b"", then="close")
    server.add("/garbage", raw=b"\x00\x01\x02 no http\r\n\r\n", then="close")
    for path in ("/length", "/chunked", "/gzip", "/reset", "/nothing", "/garbage"):
        error = await failure(scrape(path))
        assert isinstance(error, TransientError), path
        assert server.base + path in error.message


async def test_nobody_listening_is_worth_another_attempt(
    environment: AdapterEnvironment,
) -> None:
    import socket

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        adapter = WebScraperAdapter(WebScraperSettings())
        await adapter.open(environment)
        url = f"http://127.0.0.1:{port}/"
        error = await failure(adapter.process(PipelineContext({"url": url})))
        await adapter.close()
    assert isinstance(error, TransientError)


@pytest.mark.parametrize("then", ["silent", "hang"])
async def test_the_time_limit_covers_the_whole_answer(
    server: Any, scrape: Scrape, then: str
) -> None:
    server.add("/slow", "<p>begins", declared_length=1000, then=then)
    error = await failure(scrape("/slow", timeout=0.3))
    assert isinstance(error, TransientError)
    assert "within 0.3 seconds" in error.message


async def test_a_trickling_body_runs_into_the_time_limit(server: Any, scrape: Scrape) -> None:
    async def trickle(writer: asyncio.StreamWriter) -> None:
        while not server.release.is_set():
            writer.write(b"x")
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(server.release.wait(), 0.01)

    server.add("/drip", "", declared_length=10**6, stream=trickle, then="close")
    assert isinstance(await failure(scrape("/drip", timeout=0.3)), TransientError)


async def test_redirects_are_followed_and_recorded(server: Any, scrape: Scrape) -> None:
    server.add("/1", status=301, headers={"Location": "/2"})
    server.add("/2", status=307, headers={"Location": f"{server.base}/d/3?q=a b#frag"})
    server.add("/d/3?q=a%20b", "<title>there")
    result = await scrape("/1")
    assert result.metadata["final_url"] == f"{server.base}/d/3?q=a%20b"
    assert result.metadata["redirects"] == [f"{server.base}/1", f"{server.base}/2"]
    assert result.metadata["url"] == f"{server.base}/1"


async def test_redirects_that_lead_nowhere_are_final(server: Any, scrape: Scrape) -> None:
    server.add("/circle", status=302, headers={"Location": "/circle2"})
    server.add("/circle2", status=302, headers={"Location": "/circle"})
    server.add("/none", status=302)
    server.add("/ftp", status=302, headers={"Location": "ftp://a.example/"})
    for number in range(5):
        server.add(f"/{number}", status=302, headers={"Location": f"/{number + 1}"})
    reasons = {
        "/circle": "in a circle",
        "/none": "without saying where to",
        "/ftp": "only http and https",
        "/0": "more than 3 times",
    }
    for path, reason in reasons.items():
        error = await failure(scrape(path, max_redirects=3))
        assert isinstance(error, PermanentError)
        assert reason in error.message
    error = await failure(scrape("/0", follow_redirects=False))
    assert "redirects are not followed" in error.message
    assert server.paths().count("/circle") == 1


async def test_a_cookie_lives_for_one_fetch(
    server: Any, scrape: Scrape, environment: AdapterEnvironment
) -> None:
    server.add("/wall", status=302, headers={"Location": "/wall", "Set-Cookie": "seen=1; Path=/"})
    server.add("/wall", "<p>in")
    server.add("/next", "<p>next")
    session = ScrapeSession.join(environment)  # both fetches go over one client
    assert (await scrape("/wall")).payload == "<p>in"
    await scrape("/next")
    await session.leave(environment)
    assert [headers.get("cookie") for _, headers in server.requests] == [None, "seen=1", None]


async def test_a_page_too_large_is_refused_however_it_is_sent(server: Any, scrape: Scrape) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
    server.add("/told", "", declared_length=10**9, then="hang")
    server.add("/untold", raw=head + b"\r\n" + b"x" * 200_000, then="close")
    server.add("/bomb", gzip.compress(bytes(50_000_000)), headers={"Content-Encoding": "gzip"})
    for path in ("/told", "/untold", "/bomb"):
        error = await failure(scrape(path, max_bytes=100_000))
        assert isinstance(error, PermanentError)
        assert "larger than 100000 bytes" in error.message
        assert "max_bytes" in error.hint


async def test_another_type_is_refused_before_its_body_comes(server: Any, scrape: Scrape) -> None:
    server.add("/film", "", content_type="video/mp4", declared_length=10**6, then="hang")
    error = await failure(scrape("/film"))
    assert isinstance(error, PermanentError)
    assert "'video/mp4'" in error.message
    assert "content_types" in error.hint


async def test_types_can_be_added_and_a_missing_one_is_taken(server: Any, scrape: Scrape) -> None:
    server.add("/md", "# md", content_type="text/markdown")
    server.add("/none", "<p>x", content_type=None)
    server.add("/pdf", b"%PDF-1.7", content_type=None)
    server.add("/plain", "a < b", content_type="text/plain")
    assert (await scrape("/md", content_types=["text/*"])).payload == "# md"
    assert (await scrape("/none")).payload == "<p>x"
    assert (await scrape("/plain")).content_type == "text/plain; charset=utf-8"
    assert "binary data" in (await failure(scrape("/pdf"))).message


async def test_gzip_is_asked_for_and_undone_and_others_are_refused(
    server: Any, scrape: Scrape
) -> None:
    server.add("/gz", gzip.compress(b"<p>packed"), headers={"Content-Encoding": "gzip"})
    server.add("/br", b"...", headers={"Content-Encoding": "br"})
    result = await scrape("/gz")
    assert (result.payload, result.metadata["bytes"]) == ("<p>packed", 9)
    assert server.requests[0][1]["accept-encoding"] == "gzip"
    assert "'br'" in (await failure(scrape("/br"))).message


async def test_robots_are_asked_for_every_host_and_every_redirect(
    server: Any, scrape: Scrape
) -> None:
    server.add("/robots.txt", "User-agent: *\nDisallow: /private", content_type="text/plain")
    server.add("/moved", status=302, headers={"Location": "/private/x"})
    server.add("/open", "<p>fine")
    for path in ("/private/x", "/moved"):
        error = await failure(scrape(path, respect_robots=True))
        assert error.code == "robots_disallowed"
    assert "/private/x" not in server.paths()
    assert (await scrape("/open", respect_robots=True)).payload == "<p>fine"


async def test_robots_in_trouble_hold_a_site_back(server: Any, scrape: Scrape) -> None:
    server.add("/robots.txt", "", status=503, headers={"Retry-After": "9"})
    server.add("/x", "<p>fine")
    error = await failure(scrape("/x", respect_robots=True))
    assert isinstance(error, TransientError)
    assert error.retry_after == 9
    assert server.paths() == ["/robots.txt"]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_no_robots_to_be_had_means_no_rules(server: Any, scrape: Scrape, status: int) -> None:
    server.add("/robots.txt", "Disallow: /", status=status)
    server.add("/x", "<p>fine")
    assert (await scrape("/x", respect_robots=True)).payload == "<p>fine"


async def test_a_huge_robots_file_still_counts(server: Any, scrape: Scrape) -> None:
    server.add("/robots.txt", "User-agent: *\nDisallow: /x\n" + "# filler\n" * 200_000)
    error = await failure(scrape("/x", respect_robots=True))
    assert error.code == "robots_disallowed"


async def test_proxies_of_the_environment_are_not_used(
    server: Any, scrape: Scrape, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server.add("/x", "<p>direct")
    assert (await scrape("/x")).payload == "<p>direct"


async def test_a_host_gets_no_more_requests_at_once_than_allowed(
    server: Any, environment: AdapterEnvironment
) -> None:
    for number in range(12):
        server.add(f"/{number}", "<p>x", then="gate")
    adapter = WebScraperAdapter(
        WebScraperSettings(respect_robots=False, max_concurrency_per_host=2)
    )
    await adapter.open(environment)
    work = asyncio.gather(
        *(adapter.process(PipelineContext({"url": f"{server.base}/{n}"})) for n in range(12))
    )
    await server.wait_for_requests(2)
    server.release.set()
    assert len(await work) == 12
    assert server.max_in_flight == 2
    await adapter.close()


async def test_a_cancelled_fetch_gives_its_place_back(
    server: Any, environment: AdapterEnvironment
) -> None:
    server.add("/silent", "", then="silent")
    adapter = WebScraperAdapter(WebScraperSettings(respect_robots=False))
    await adapter.open(environment)
    url = f"{server.base}/silent"
    task = asyncio.create_task(adapter.process(PipelineContext({"url": url})))
    await server.wait_for_requests(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    session = environment.shared[SHARED_KEY]
    assert session.pacer.in_flight(f"127.0.0.1:{server.port}") == 0
    await adapter.close()


async def test_adapters_of_an_execution_share_one_session_until_the_last_closes(
    environment: AdapterEnvironment,
) -> None:
    adapters = [WebScraperAdapter(WebScraperSettings()) for _ in range(2)]
    for adapter in adapters:
        await adapter.open(environment)
    session = environment.shared[SHARED_KEY]
    assert isinstance(session, ScrapeSession)
    await adapters[0].close()
    assert environment.shared[SHARED_KEY] is session
    await adapters[1].close()
    await adapters[1].close()
    assert SHARED_KEY not in environment.shared


@pytest.mark.parametrize("payload", [{}, {"url": ""}, {"url": 3}, 7, {"url": "ftp://a.example"}])
async def test_a_message_without_a_url_says_so(
    payload: Any, environment: AdapterEnvironment
) -> None:
    adapter = WebScraperAdapter(WebScraperSettings())
    await adapter.open(environment)
    with pytest.raises(PermanentError):
        await adapter.process(PipelineContext(payload))
    await adapter.close()


@pytest.mark.parametrize(
    "settings",
    [{"timeout": 0}, {"user_agent": "a\r\nX: y"}, {"user_agent": ""}, {"max_bytes": -1}, {"x": 1}],
)
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        WebScraperSettings(**settings)
