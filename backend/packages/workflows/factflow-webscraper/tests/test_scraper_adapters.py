"""From a sitemap's address to stored documents: what each stage takes, returns and refuses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import entry_points
from typing import Any

import pytest

from factflow_protocols.errors import AdapterError, PermanentError, TransientError
from factflow_protocols.pipeline import (
    ADAPTER_SPEC_ATTRIBUTE,
    AdapterEnvironment,
    AdapterResult,
    Emitted,
    PipelineAdapter,
    PipelineContext,
    StatefulAdapter,
)
from factflow_webscraper.adapters.sitemap_parser import SitemapParserAdapter, SitemapParserConfig
from factflow_webscraper.adapters.url_expander import URLExpanderAdapter, URLExpanderConfig
from factflow_webscraper.adapters.web_content_storage import (
    WebContentStorageAdapter,
    WebContentStorageConfig,
)

Parse = Callable[..., Awaitable[dict[str, Any]]]
XML = "application/xml"


def urlset(*locs: str) -> str:
    return "<urlset>" + "".join(f"<url><loc>{loc}</loc></url>" for loc in locs) + "</urlset>"


def index(*locs: str) -> str:
    inner = "".join(f"<sitemap><loc>{loc}</loc></sitemap>" for loc in locs)
    return f"<sitemapindex>{inner}</sitemapindex>"


@pytest.fixture
def parse(server: Any, environment: AdapterEnvironment) -> Parse:
    """Parse the sitemap at a path of the server with the given settings."""

    async def run(path: str, **settings: Any) -> dict[str, Any]:
        adapter = SitemapParserAdapter(SitemapParserConfig(**settings))
        await adapter.open(environment)
        try:
            context = PipelineContext({"sitemap_url": server.base + path})
            payload: dict[str, Any] = (await adapter.process(context)).payload
            return payload
        finally:
            await adapter.close()

    return run


def paths(payload: dict[str, Any]) -> list[str]:
    return ["/" + entry["url"].split("/", 3)[3] for entry in payload["urls"]]


async def failure(work: Awaitable[object]) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        await work
    assert caught.value.hint
    return caught.value


def test_all_four_adapters_are_announced_under_their_names() -> None:
    found = {
        point.name: point.load()
        for point in entry_points(group="factflow.adapters")
        if point.value.startswith("factflow_webscraper.")
    }
    assert set(found) == {"sitemap_parser", "url_expander", "web_scraper", "web_content_storage"}
    for name, cls in found.items():
        spec = getattr(cls, ADAPTER_SPEC_ATTRIBUTE)
        assert spec.type_name == name
        assert spec.description
        adapter = cls(config=spec.config_model())
        assert isinstance(adapter, PipelineAdapter)
        if name in {"sitemap_parser", "web_scraper"}:
            assert isinstance(adapter, StatefulAdapter)


async def test_a_sitemap_becomes_a_list_of_pages(server: Any, parse: Parse) -> None:
    body = "<urlset><url><loc>/a</loc><lastmod>2024-01-02</lastmod></url><url><loc>/b</loc></url></urlset>"
    server.add("/sitemap.xml", body, content_type=XML)
    assert await parse("/sitemap.xml") == {
        "sitemap_url": f"{server.base}/sitemap.xml",
        "urls": [
            {"url": f"{server.base}/a", "lastmod": "2024-01-02"},
            {"url": f"{server.base}/b"},
        ],
        "sitemaps": 1,
        "problems": [],
        "truncated": False,
    }


async def test_indexes_are_followed_and_every_document_is_fetched_once(
    server: Any, parse: Parse
) -> None:
    server.add("/i.xml", index("/i.xml", "/1.xml", "/j.xml", "/1.xml#x"), content_type=XML)
    server.add("/j.xml", index("/i.xml", "/2.xml", "/j.xml"), content_type=XML)
    server.add("/1.xml", urlset("/a", "/b"), content_type=XML)
    server.add("/2.xml", urlset("/b", "/c"), content_type=XML)
    payload = await parse("/i.xml")
    assert paths(payload) == ["/a", "/b", "/c"]
    assert payload["sitemaps"] == 4
    fetched = [path for path in server.paths() if path != "/robots.txt"]
    assert sorted(fetched) == ["/1.xml", "/2.xml", "/i.xml", "/j.xml"]


async def test_a_child_that_fails_is_noted_and_the_others_count(server: Any, parse: Parse) -> None:
    server.add("/i.xml", index("/1.xml", "/gone.xml", "/html.xml"), content_type=XML)
    server.add("/1.xml", urlset("/a"), content_type=XML)
    server.add("/html.xml", "<html><title>Sign in</title>")
    payload = await parse("/i.xml")
    assert paths(payload) == ["/a"]
    assert [
        ("gone.xml answered 404" in note, "Sign in" in note) for note in payload["problems"]
    ] == [
        (True, False),
        (False, True),
    ]


async def test_a_child_in_passing_trouble_is_asked_again(server: Any, parse: Parse) -> None:
    server.add("/i.xml", index("/1.xml"), content_type=XML)
    server.add("/1.xml", "", status=500)
    server.add("/1.xml", urlset("/a"), content_type=XML)
    payload = await parse("/i.xml")
    assert (paths(payload), payload["problems"]) == (["/a"], [])


async def test_when_all_children_fail_the_message_fails(server: Any, parse: Parse) -> None:
    server.add("/i.xml", index("/1.xml", "/2.xml"), content_type=XML)
    error = await failure(parse("/i.xml"))
    assert isinstance(error, PermanentError)
    assert "none of the sitemaps below" in error.message
    server.add("/k.xml", index("/1.xml", "/busy.xml"), content_type=XML)
    server.add("/busy.xml", "", status=500, headers={"Retry-After": "0"})
    assert isinstance(await failure(parse("/k.xml")), TransientError)


async def test_limits_are_told_not_hidden(server: Any, parse: Parse) -> None:
    server.add("/i.xml", index(*(f"/{n}.xml" for n in range(8))), content_type=XML)
    for number in range(8):
        locs = (f"/{number}/{page}" for page in range(10))
        server.add(f"/{number}.xml", urlset(*locs), content_type=XML)
    payload = await parse("/i.xml", max_urls=15)
    assert len(payload["urls"]) == 15
    assert payload["truncated"]
    assert "max_urls" in payload["problems"][-1]
    payload = await parse("/i.xml", max_sitemaps=3)
    assert payload["sitemaps"] == 3
    assert payload["truncated"]
    assert any("max_sitemaps=3" in note for note in payload["problems"])
    error = await failure(parse("/0.xml", max_bytes=50))
    assert "max_bytes" in error.hint


async def test_exactly_max_urls_is_not_truncated(server: Any, parse: Parse) -> None:
    server.add("/s.xml", urlset("/a", "/b"), content_type=XML)
    payload = await parse("/s.xml", max_urls=2)
    assert (len(payload["urls"]), payload["truncated"]) == (2, False)


async def test_depth_is_limited(server: Any, parse: Parse) -> None:
    server.add("/0.xml", index("/1.xml", "/p.xml"), content_type=XML)
    server.add("/1.xml", index("/2.xml"), content_type=XML)
    server.add("/2.xml", urlset("/deep"), content_type=XML)
    server.add("/p.xml", urlset("/a"), content_type=XML)
    payload = await parse("/0.xml", max_depth=1)
    assert paths(payload) == ["/a"]
    assert any("max_depth=1" in note for note in payload["problems"])


async def test_other_hosts_are_left_out_unless_wanted(server: Any, parse: Parse) -> None:
    server.add("/s.xml", urlset("/a", "https://other.example/b"), content_type=XML)
    payload = await parse("/s.xml")
    assert paths(payload) == ["/a"]
    assert "same_host_only: false" in payload["problems"][0]
    payload = await parse("/s.xml", same_host_only=False)
    assert [entry["url"] for entry in payload["urls"]][1] == "https://other.example/b"
    server.add("/foreign.xml", urlset("https://other.example/b"), content_type=XML)
    error = await failure(parse("/foreign.xml"))
    assert "other hosts" in error.message


async def test_patterns_choose_pages(server: Any, parse: Parse) -> None:
    server.add("/s.xml", urlset("/docs/a", "/docs/old/b", "/blog/c"), content_type=XML)
    payload = await parse("/s.xml", include=["/docs/"], exclude=["/old/"])
    assert paths(payload) == ["/docs/a"]
    assert "left out by include and exclude: 2" in payload["problems"]
    with pytest.raises(ValueError, match="no regular expression"):
        SitemapParserConfig(include=("(",))


async def test_a_robots_file_names_the_sitemaps(server: Any, parse: Parse) -> None:
    server.add("/robots.txt", "User-agent: *\nSitemap: /1.xml\nsitemap: /2.xml\n")
    server.add("/1.xml", urlset("/a"), content_type=XML)
    server.add("/2.xml", urlset("/b"), content_type=XML)
    assert paths(await parse("/robots.txt")) == ["/a", "/b"]


async def test_a_robots_file_without_sitemaps_says_so(server: Any, parse: Parse) -> None:
    server.add("/robots.txt", "User-agent: *\nDisallow:\n")
    error = await failure(parse("/robots.txt"))
    assert "names no sitemap" in error.message


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"body": "<html><head><title>Sign in</title>"}, "HTML page titled 'Sign in'"),
        ({"body": "", "status": 404}, "answered 404"),
        ({"body": "", "status": 401}, "answered 401"),
        ({"body": "hello"}, "neither XML nor a list"),
        ({"body": ""}, "it is empty"),
    ],
)
async def test_what_gives_no_sitemap_fails_in_a_plain_sentence(
    server: Any, parse: Parse, answer: dict[str, Any], reason: str
) -> None:
    server.add("/s.xml", **answer)
    error = await failure(parse("/s.xml"))
    assert isinstance(error, PermanentError)
    assert reason in error.message
    assert f"{server.base}/s.xml" in error.message


async def test_a_damaged_sitemap_gives_its_complete_pages(server: Any, parse: Parse) -> None:
    server.add("/s.xml", urlset("/a", "/b", "/c")[:-30], content_type=XML)
    payload = await parse("/s.xml")
    assert paths(payload) == ["/a", "/b"]
    assert payload["truncated"]
    assert "broken" in payload["problems"][0]


@pytest.mark.parametrize("payload", [{}, {"sitemap_url": None}, [], "", {"sitemap_url": "x y"}])
async def test_a_message_without_a_sitemap_says_so(
    payload: Any, environment: AdapterEnvironment
) -> None:
    adapter = SitemapParserAdapter(SitemapParserConfig())
    await adapter.open(environment)
    with pytest.raises(PermanentError):
        await adapter.process(PipelineContext(payload))
    await adapter.close()


async def expand(payload: Any, **settings: Any) -> list[Emitted]:
    adapter = URLExpanderAdapter(URLExpanderConfig(**settings))
    result: AdapterResult = await adapter.process(PipelineContext(payload))
    assert isinstance(result.emitted, list)
    return result.emitted


async def test_every_url_becomes_one_message_under_its_name() -> None:
    children = await expand(
        {
            "urls": [
                {"url": "https://a.example/1", "lastmod": "2024-01-01"},
                "HTTPS://A.example:443/1#again",
                "https://a.example/2",
                "https://a.example/%7Ejoe",
                "https://a.example/~joe",
                "javascript:void(0)",
            ]
        }
    )
    assert [child.key for child in children] == [
        "https://a.example/1",
        "https://a.example/2",
        "https://a.example/%7Ejoe",
    ]
    assert children[0] == Emitted(
        {"url": "https://a.example/1"},
        key="https://a.example/1",
        metadata={"url": "https://a.example/1", "lastmod": "2024-01-01"},
    )


async def test_expansion_obeys_patterns_and_the_limit() -> None:
    urls = {"urls": [f"https://a.example/{part}/{n}" for n in range(5) for part in ("a", "b")]}
    kept = await expand(urls, include=["/a/"], exclude=["/3$"], max_urls=3)
    assert [child.key for child in kept] == [f"https://a.example/a/{n}" for n in (0, 1, 2)]


async def test_an_empty_list_makes_no_messages_and_rubbish_fails() -> None:
    assert await expand({"urls": []}) == []
    for payload in ({}, {"urls": "https://a.example/"}, {"urls": ["", 3, {"x": 1}]}, None):
        await failure(expand(payload))


async def store(payload: Any, **metadata: Any) -> AdapterResult:
    adapter = WebContentStorageAdapter(WebContentStorageConfig())
    context = PipelineContext(payload, metadata, content_type="text/html; charset=utf-8")
    return await adapter.process(context)


async def test_a_document_has_an_identity_of_its_own() -> None:
    first = await store(
        "<p>x", url="https://a.example/old", final_url="https://a.example/", title="T"
    )
    again = await store("<p>y", url="https://a.example/", title="")
    assert first.payload == "<p>x"
    assert first.content_type == "text/html; charset=utf-8"
    assert first.metadata["document_id"] == again.metadata["document_id"]
    assert first.metadata["content_hash"] != again.metadata["content_hash"]
    assert (first.metadata["title"], again.metadata["title"]) == ("T", "https://a.example/")


async def test_a_document_needs_a_page_and_a_url() -> None:
    assert "no page" in (await failure(store({"a": 1}, url="https://a.example/"))).message
    assert "does not know the page's URL" in (await failure(store("<p>x"))).message
