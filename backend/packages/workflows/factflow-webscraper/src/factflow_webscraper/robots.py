"""robots.txt, by RFC 9309: what may be fetched, how slowly, and which sitemaps a site names.

Rules are kept per origin for the length of an execution. An answer in the 4xx range means that there
are no rules; 5xx, 429 and no answer at all mean that nothing may be fetched *now* (a transient error);
so does a body cut off. Of a long file the first 500 KiB count.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from protego import Protego

from factflow_protocols.errors import PermanentError, TransientError
from factflow_webscraper.urls import UrlRefusedError, origin_of, resolve

MAX_ROBOTS_BYTES = 500 * 1024
_REMEMBER_FAILURE_SECONDS = 15.0

FetchRobots = Callable[[str], Awaitable[bytes | None]]
"""Returns the body of a robots.txt, None when there is none; raises `TransientError`."""


class RobotsDisallowedError(PermanentError):
    """The site's robots.txt asks not to fetch this URL."""

    code = "robots_disallowed"


class RobotsRules:
    """The rules of one robots.txt."""

    def __init__(self, body: bytes, url: str) -> None:
        self._url = url
        # UTF-8 is what the RFC says; files with a UTF-16 mark are met all the same.
        encoding = "utf-16" if body.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
        text = body[:MAX_ROBOTS_BYTES].decode(encoding, "replace")
        if len(body) > MAX_ROBOTS_BYTES:
            text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1]
        self._rules = Protego.parse(text)

    def allows(self, url: str, user_agent: str) -> bool:
        """Tell whether this crawler may fetch the URL; the product token of `user_agent` counts."""
        return bool(self._rules.can_fetch(url, product_token(user_agent)))

    def crawl_delay(self, user_agent: str) -> float | None:
        """Return the seconds asked for between two requests, None when nothing is asked."""
        delay = self._rules.crawl_delay(product_token(user_agent))
        return None if delay is None else float(delay)

    def sitemaps(self) -> list[str]:
        """Return the sitemaps named, in normal form, each once; unusable lines are left out."""
        found = []
        for line in self._rules.sitemaps:
            try:
                if "\N{REPLACEMENT CHARACTER}" not in line:
                    found.append(resolve(line, self._url))
            except UrlRefusedError:
                continue  # a line for other crawlers, or a typing error of the site's
        return list(dict.fromkeys(found))


def product_token(user_agent: str) -> str:
    """Return the name a crawler goes by in robots.txt: what stands before version and comment."""
    return re.split(r"[/\s]", user_agent.strip(), maxsplit=1)[0]


@dataclass(slots=True)
class _Known:
    rules: RobotsRules | None = None
    failure: TransientError | None = None
    until: float = 0.0


class RobotsCache:
    """The rules of all origins an execution has met; each file is fetched once."""

    def __init__(self, fetch: FetchRobots, *, monotonic: Callable[[], float] = time.monotonic):
        self._fetch = fetch
        self._monotonic = monotonic
        self._known: dict[str, _Known] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def rules(self, url: str) -> RobotsRules:
        """Return the rules that hold for a URL.

        Raises `TransientError` while they cannot be had; this is remembered for some seconds, so that
        a thousand waiting pages do not ask a thousand times.
        """
        origin = origin_of(url)
        async with self._locks.setdefault(origin, asyncio.Lock()):
            known = self._known.get(origin)
            if known is not None and known.rules is not None:
                return known.rules
            if known is not None and known.failure is not None:
                left = known.until - self._monotonic()
                if left > 0:
                    raise self._again(known.failure, left)
            return await self._load(origin)

    async def check(self, url: str, user_agent: str) -> RobotsRules:
        """Return the rules if they allow the URL. Raises `RobotsDisallowedError`, `TransientError`."""
        rules = await self.rules(url)
        if not rules.allows(url, user_agent):
            raise RobotsDisallowedError(
                f"{url} is not fetched: {origin_of(url)}/robots.txt disallows it for"
                f" {product_token(user_agent)!r}",
                hint="leave the page out, or set respect_robots: false if the site is yours",
            )
        return rules

    async def _load(self, origin: str) -> RobotsRules:
        url = f"{origin}/robots.txt"
        try:
            body = await self._fetch(url)
        except TransientError as error:
            failure = TransientError(
                f"nothing is fetched from {origin} until its robots.txt can be read:"
                f" {error.message}",
                hint="wait, or set respect_robots: false if the site is yours",
                retry_after=error.retry_after,
            )
            pause = max(error.retry_after or 0.0, _REMEMBER_FAILURE_SECONDS)
            self._known[origin] = _Known(failure=failure, until=self._monotonic() + pause)
            raise failure from error
        # A large file is a second of work for the parser; the loop has other pages to serve.
        rules = (
            RobotsRules(body or b"", url)
            if len(body or b"") < 32 * 1024
            else await asyncio.to_thread(RobotsRules, body or b"", url)
        )
        self._known[origin] = _Known(rules=rules)
        return rules

    @staticmethod
    def _again(failure: TransientError, seconds: float) -> TransientError:
        return TransientError(failure.message, hint=failure.hint, retry_after=seconds)
