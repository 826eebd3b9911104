"""Fetching one URL: redirects by hand, limits on time and size, errors that say what to do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpcore2
import httpx2

from factflow_protocols.errors import AdapterError, PermanentError, TransientError
from factflow_webscraper.inflate import GzipDamagedError, Inflater, OutputLimitError
from factflow_webscraper.pacing import PaceLimits, Pacer
from factflow_webscraper.responses import (
    ContentRefusedError,
    HostBusyError,
    check_content_type,
    check_status,
    too_large,
)
from factflow_webscraper.urls import UrlRefusedError, host_of, resolve, shorten

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NETWORK_ERRORS = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    httpx2.TransportError,
    OSError,
)
_DRAIN_BYTES = 64 * 1024


class RedirectError(PermanentError):
    """The redirects of a URL lead nowhere."""

    code = "redirect_failed"


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one fetch may cost. `timeout` is seconds for all requests of it, waiting for a turn not
    counted; `max_bytes` counts the body as unpacked, and a longer one is refused, or `cut` to it; no
    `content_types` means any."""

    timeout: float = 30.0
    max_bytes: int = 20 * 1024 * 1024
    cut: bool = False
    max_redirects: int = 10
    follow_redirects: bool = True
    content_types: tuple[str, ...] = ()
    user_agent: str = "Factflow"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A complete answer. `redirects` are the URLs passed on the way, without the final one."""

    url: str
    final_url: str
    redirects: tuple[str, ...]
    status: int
    headers: httpx2.Headers
    body: bytes
    fetched_at: str


class Visit:
    """What a caller may do at each URL of a redirect chain before it is requested."""

    async def before(self, url: str) -> None:
        """Raise to stop the fetch; the default lets every URL through."""


def new_client(transport: httpx2.AsyncBaseTransport) -> httpx2.AsyncClient:
    """Return a client without proxies, redirects and memory: no cookie outlives its fetch."""
    silent = CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
    return httpx2.AsyncClient(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        cookies=silent,
        timeout=None,
        headers={"Accept-Encoding": "gzip"},
    )


class Fetcher:
    """Fetches URLs for all adapters of an execution over one client and one pacer."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        pacer: Pacer,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._pacer = pacer
        self._now = now

    async def fetch(
        self, url: str, limits: FetchLimits, pace: PaceLimits, visit: Visit | None = None
    ) -> Fetched:
        """Return the answer to a GET of `url` (in normal form), redirects followed.

        Raises `TransientError` for 408, 425, 429, 5xx, time-outs, broken connections and cut-off
        bodies, `PermanentError` for everything that another attempt cannot change.
        """
        cookies = httpx2.Cookies()
        passed: list[str] = []
        current = url
        seconds = limits.timeout
        while True:
            if visit is not None:
                await visit.before(current)
            answer, seconds = await self._paced(current, limits, pace, cookies, seconds)
            if isinstance(answer, Fetched):
                return Fetched(
                    url,
                    current,
                    tuple(passed),
                    answer.status,
                    answer.headers,
                    answer.body,
                    answer.fetched_at,
                )
            passed.append(current)
            self._check_redirect(url, answer, passed, limits, bool(len(cookies)))
            current = answer

    async def _paced(
        self, url: str, limits: FetchLimits, pace: PaceLimits, cookies: httpx2.Cookies, left: float
    ) -> tuple[Fetched | str, float]:
        """Make one request when its turn has come; return the answer and the seconds left."""
        loop = asyncio.get_running_loop()
        async with self._pacer.turn(host_of(url), pace) as turn:
            started = loop.time()
            try:
                async with asyncio.timeout(max(left, 0.001)):
                    answer = await self._request(url, limits, cookies)
            except HostBusyError as error:
                turn.pushed_back(error.retry_after)
                raise
            except TimeoutError as error:
                turn.pushed_back()
                raise TransientError(
                    f"{url} did not answer completely within {limits.timeout:g} seconds",
                    hint="raise timeout if the site is slow",
                ) from error
            except _NETWORK_ERRORS as error:
                turn.pushed_back()
                raise _network_error(url, error) from error
            except PermanentError:
                turn.succeeded()
                raise
            turn.succeeded()
            return answer, left - (loop.time() - started)

    async def _request(
        self, url: str, limits: FetchLimits, cookies: httpx2.Cookies
    ) -> Fetched | str:
        """Return the answer, or the URL it redirects to."""
        headers = {"User-Agent": limits.user_agent, "Accept": "*/*"}
        if limits.content_types:
            headers["Accept"] = ", ".join([*limits.content_types, "*/*;q=0.1"])
        request = self._client.build_request("GET", url, headers=headers)
        cookies.set_cookie_header(request)
        response = await self._client.send(request, stream=True)
        try:
            cookies.extract_cookies(response)
            if response.status_code in _REDIRECTS:
                target = _target(url, response)
                await _drain(response)
                return target
            if not 200 <= response.status_code < 300:
                await _drain(response)
            check_status(url, response)
            check_content_type(url, response.headers, limits.content_types)
            body = await _read(url, response, limits)
        finally:
            await response.aclose()
        fetched_at = self._now().isoformat(timespec="seconds")
        return Fetched(url, url, (), response.status_code, response.headers, body, fetched_at)

    @staticmethod
    def _check_redirect(
        url: str, target: str, passed: list[str], limits: FetchLimits, has_cookies: bool
    ) -> None:
        if not limits.follow_redirects:
            raise RedirectError(
                f"{passed[-1]} redirects to {target}, and redirects are not followed",
                hint="scrape that URL instead, or set follow_redirects: true",
            )
        # A site may set a cookie and send the visitor to the same place once more.
        if target in passed and (not has_cookies or passed.count(target) > 1):
            raise RedirectError(
                f"{url} redirects in a circle: {target} comes up again",
                hint="open the URL in a browser; perhaps it needs a login",
            )
        if len(passed) > limits.max_redirects:
            raise RedirectError(
                f"{url} redirects more than {limits.max_redirects} times, the last time to {target}",
                hint="raise max_redirects, or scrape the final URL",
            )


def _target(url: str, response: httpx2.Response) -> str:
    location = response.headers.get("location", "").strip()
    if not location:
        raise RedirectError(
            f"{url} answered {response.status_code} without saying where to (no Location header)",
            hint="the site is misconfigured; open the URL in a browser",
        )
    try:
        return resolve(location.replace(" ", "%20"), url)
    except UrlRefusedError as error:
        raise RedirectError(
            f"{url} redirects to {shorten(location)}, which is refused: {error.message}",
            hint=error.hint,
        ) from error


async def _drain(response: httpx2.Response) -> None:
    """Read a short body that nobody wants, so that its connection can be used again."""
    read = 0
    with contextlib.suppress(*_NETWORK_ERRORS):
        async for piece in response.aiter_raw():
            read += len(piece)
            if read > _DRAIN_BYTES:
                return


async def _read(url: str, response: httpx2.Response, limits: FetchLimits) -> bytes:
    length = response.headers.get("content-length", "")
    known = int(length[:19]) if length.isascii() and length.isdigit() else 0
    if known > limits.max_bytes and not limits.cut:
        raise too_large(url, limits.max_bytes)
    body = bytearray()
    try:
        async for piece in _decoded(url, response, limits.max_bytes):
            body += piece
    except OutputLimitError as error:
        if not limits.cut:
            raise too_large(url, limits.max_bytes) from error
        del body[limits.max_bytes :]
    except GzipDamagedError as error:
        raise TransientError(
            f"the body of {url} is damaged: {error}", hint="a later attempt may work"
        ) from error
    return bytes(body)


async def _decoded(url: str, response: httpx2.Response, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the body as unpacked; raise `OutputLimitError` past the limit, `GzipDamagedError` when a
    compressed body breaks off (a plain one that does is noticed by the connection)."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding in {"", "identity", "none", "utf-8"}:
        read = 0
        async for piece in response.aiter_raw():
            yield piece
            read += len(piece)
            if read > max_bytes:
                raise OutputLimitError(f"more than {max_bytes} bytes")
        return
    if coding not in {"gzip", "x-gzip"}:
        raise ContentRefusedError(
            f"{url} came with the content encoding {coding[:40]!r}, which was not asked for",
            hint="the site is misconfigured; only gzip is understood",
        )
    inflater = Inflater(max_bytes)
    async for packed in response.aiter_raw():
        for piece in inflater.feed(packed):
            yield piece
    if not inflater.complete:
        raise GzipDamagedError("its gzip data is cut off")


def _network_error(url: str, error: BaseException) -> AdapterError:
    """Return the error for a connection that failed or broke."""
    text = " ".join(str(error).split())[:200]
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return PermanentError(
            f"{url} could not be fetched: its certificate is not valid ({text})",
            hint="open the URL in a browser; a private authority is made known by SSL_CERT_FILE",
        )
    reason = text or type(error).__name__
    if isinstance(error, httpcore2.ConnectTimeout):
        reason = "no connection within its time"
    elif isinstance(error, httpcore2.ConnectError):
        reason = f"no connection ({text or 'refused'})"
    elif isinstance(error, httpcore2.ReadError):
        reason = f"the connection broke ({text or 'reset'})"
    return TransientError(
        f"{url} could not be fetched: {reason}",
        hint="the connection or the site is in trouble; a later attempt may work",
    )
