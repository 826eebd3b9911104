"""robots.txt by RFC 9309: what its absence, its trouble and its lines mean."""

from __future__ import annotations

import asyncio

import pytest

from factflow_protocols.errors import TransientError
from factflow_webscraper.robots import (
    MAX_ROBOTS_BYTES,
    RobotsCache,
    RobotsDisallowedError,
    RobotsRules,
    product_token,
)

AGENT = "Factflow/0.1 (+https://example.com)"


class _Site:
    """Gives the same robots.txt again and again, or fails."""

    def __init__(self, body: bytes | None = None, failure: TransientError | None = None) -> None:
        self.body, self.failure = body, failure
        self.asked: list[str] = []
        self.time = 0.0

    async def __call__(self, url: str) -> bytes | None:
        self.asked.append(url)
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return self.body

    def cache(self) -> RobotsCache:
        return RobotsCache(self, monotonic=lambda: self.time)


async def test_rules_are_fetched_once_per_origin() -> None:
    site = _Site(b"User-agent: *\nDisallow: /private/\n")
    cache = site.cache()
    await asyncio.gather(*(cache.check(f"https://a.example/{n}", AGENT) for n in range(20)))
    await cache.check("https://a.example:8443/", AGENT)
    assert site.asked == ["https://a.example/robots.txt", "https://a.example:8443/robots.txt"]


async def test_a_disallowed_url_says_who_disallows_it() -> None:
    cache = _Site(b"User-agent: factflow\nDisallow: /private/\nAllow: /private/ok$\n").cache()
    with pytest.raises(RobotsDisallowedError, match=r"a\.example/robots\.txt disallows") as caught:
        await cache.check("https://a.example/private/x", AGENT)
    assert "respect_robots" in caught.value.hint
    await cache.check("https://a.example/private/ok", AGENT)


async def test_no_robots_file_allows_all() -> None:
    await _Site(None).cache().check("https://a.example/x", AGENT)


async def test_trouble_means_not_now_and_is_remembered_for_a_while() -> None:
    site = _Site(failure=TransientError("503", retry_after=40))
    cache = site.cache()
    for _ in range(5):
        with pytest.raises(TransientError, match=r"until its robots\.txt can be read") as caught:
            await cache.check("https://a.example/x", AGENT)
    assert len(site.asked) == 1
    assert caught.value.retry_after == 40
    site.time, site.failure = 41.0, None
    await cache.check("https://a.example/x", AGENT)
    assert len(site.asked) == 2


def test_what_stands_behind_500_kib_does_not_count() -> None:
    start = b"User-agent: *\nDisallow: /a\n"
    filler = b"# filler\n" * (MAX_ROBOTS_BYTES // 9)
    rules = RobotsRules(start + filler + b"Disallow: /b\n", "https://a.example/robots.txt")
    assert not rules.allows("https://a.example/a", AGENT)
    assert rules.allows("https://a.example/b", AGENT)


def test_byte_order_marks_and_odd_bytes_do_no_harm() -> None:
    text = "User-agent: *\nDisallow: /a\nSitemap: /map.xml\n"
    for body in (
        b"\xef\xbb\xbf" + text.encode(),
        text.encode("utf-16"),
        b"\xff\x00\n" + text.encode(),
    ):
        rules = RobotsRules(body, "https://a.example/robots.txt")
        assert not rules.allows("https://a.example/a", AGENT)
        assert rules.sitemaps() == ["https://a.example/map.xml"]


def test_the_crawl_delay_of_our_group_counts() -> None:
    body = b"User-agent: *\nCrawl-delay: 9\n\nUser-agent: factflow\nCrawl-delay: 1.5\n"
    rules = RobotsRules(body, "https://a.example/robots.txt")
    assert rules.crawl_delay(AGENT) == 1.5
    assert rules.crawl_delay("Other/1") == 9


def test_the_product_token_is_the_first_word() -> None:
    assert product_token(AGENT) == "Factflow"
    assert product_token("Bot (x)") == "Bot"
