"""Sitemaps and feeds in the shapes the web has; what is complete is kept, what is not is told."""

from __future__ import annotations

import gzip

import pytest

from factflow_webscraper.sitemap_xml import NotASitemapError, SitemapEntry, parse_sitemap

URL = "https://a.example/dir/sitemap.xml"
NS = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


def urlset(*locs: str, head: str = "") -> bytes:
    body = "".join(f"<url><loc>{loc}</loc></url>" for loc in locs)
    return f"{head}<urlset {NS}>{body}</urlset>".encode()


def pages(data: bytes) -> list[str]:
    return [page.url for page in parse_sitemap(data, URL).pages]


@pytest.mark.parametrize(
    "data",
    [
        urlset("https://a.example/1"),
        urlset("https://a.example/1", head='\n\n <?xml version="1.0"?>'),
        b"\xef\xbb\xbf" + urlset("https://a.example/1"),
        urlset("\n <![CDATA[ https://a.example/1 ]]>\t"),
        urlset("/1"),
        urlset("../1"),
        urlset("https://a.example/1", "https://a.example:443/1", "HTTPS://A.example/1#x"),
        urlset("https://a.example/1", "javascript:alert(1)", "not a url", ""),
        gzip.compress(urlset("https://a.example/1"), mtime=0),
        gzip.compress(gzip.compress(urlset("https://a.example/1"), mtime=0), mtime=0),
        f"<urlset {NS}><url><loc>https://a.example/1</loc></url></urlset>".encode("utf-16"),
        b"<urlset><url><loc>https://a.example/1</loc></url></urlset>",
        b"<x:urlset xmlns:x='urn:other'><x:url><x:loc>https://a.example/1</x:loc></x:url></x:urlset>",
        b"https://a.example/1\r\n",
        b"\xef\xbb\xbf# list\nhttps://a.example/1\nnonsense\n",
        b"<rss><channel><link>https://a.example/</link><image><url>x</url></image>\
<item><link>https://a.example/1</link></item></channel></rss>",
        b"<rss><channel><item><guid>https://a.example/1</guid></item></channel></rss>",
        b"<feed xmlns='http://www.w3.org/2005/Atom'><link href='https://a.example/'/>\
<entry><link rel='edit' href='/e'/><link href='https://a.example/1'/></entry></feed>",
    ],
    ids=[
        "plain",
        "space before the declaration",
        "byte order mark",
        "CDATA",
        "rooted path",
        "relative path",
        "one page thrice",
        "what is no page",
        "gzip",
        "gzip twice",
        "UTF-16",
        "no namespace",
        "another namespace",
        "text",
        "text with comments",
        "RSS link",
        "RSS guid",
        "Atom",
    ],
)
def test_every_shape_gives_its_one_page(data: bytes) -> None:
    assert pages(data) == ["https://a.example/1"]


def test_extensions_add_no_pages_but_alternates_are_kept() -> None:
    data = (
        f"<urlset {NS} xmlns:image='http://www.google.com/schemas/sitemap-image/1.1'"
        " xmlns:video='http://www.google.com/schemas/sitemap-video/1.1'"
        " xmlns:xhtml='http://www.w3.org/1999/xhtml'>"
        "<url><image:loc>https://a.example/direct.jpg</image:loc>"
        "<image:image><image:loc>https://a.example/i.jpg</image:loc></image:image>"
        "<video:video><video:content_loc>https://a.example/v.mp4</video:content_loc></video:video>"
        "<xhtml:link rel='alternate' hreflang='de' href='/de'/>"
        "<loc>https://a.example/1</loc><lastmod>2024-05-01T12:00:00.5+02:00</lastmod></url></urlset>"
    )
    assert parse_sitemap(data.encode(), URL).pages == [
        SitemapEntry(
            "https://a.example/1", "2024-05-01T10:00:00.500000Z", ("https://a.example/de",)
        )
    ]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("2024", "2024"),
        ("2024-05", "2024-05"),
        ("2024-05-01", "2024-05-01"),
        ("2024-05-01T12:00Z", "2024-05-01T12:00:00Z"),
        ("2024-05-01 12:00:00", "2024-05-01T12:00:00Z"),
        ("2024-13-01", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_lastmod_is_a_date_or_nothing(written: str, kept: str | None) -> None:
    data = f"<urlset><url><loc>{URL}</loc><lastmod>{written}</lastmod></url></urlset>"
    assert parse_sitemap(data.encode(), URL).pages[0].lastmod == kept


def test_an_index_names_sitemaps() -> None:
    data = b"<sitemapindex><sitemap><loc>/1.xml</loc></sitemap><sitemap/></sitemapindex>"
    document = parse_sitemap(data, URL)
    assert [entry.url for entry in document.sitemaps] == ["https://a.example/1.xml"]
    assert document.pages == []
    assert "without URL: 1" in document.problems[0]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_cut_sitemap_keeps_complete_urls_and_invents_none(cut: int) -> None:
    whole = urlset(*(f"https://a.example/{n:04}" for n in range(10)))
    document = parse_sitemap(whole[: -12 * cut], URL)
    wanted = [f"https://a.example/{n:04}" for n in range(10)]
    found = [page.url for page in document.pages]
    assert found == wanted[: len(found)]
    assert len(found) >= 5
    assert document.truncated
    assert "is broken at line" in document.problems[0]


def test_a_cut_gzip_keeps_what_came_out() -> None:
    import random

    source = random.Random(1)
    whole = urlset(*(f"https://a.example/{source.random()}" for _ in range(500)))
    document = parse_sitemap(gzip.compress(whole)[:-2000], URL)
    assert 100 < len(document.pages) < 500
    assert document.truncated
    assert "cut off" in document.problems[0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"  \n ", "it is empty"),
        (b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>", "titled 'Sign in'"),
        (b"<html><body>Log in<br></body></html>", "perhaps a login or error page"),
        (b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'/>", "an HTML page"),
        (b"<catalogue><book/></catalogue>", "<catalogue>"),
        (b"< nonsense", "broken before the first element"),
        (b'{"urls": ["https://a.example/1"]}', "neither XML nor a list"),
        (b"\x89PNG\r\n\x1a\n\0\0", "binary"),
        (b"<urlset><url><loc>https://a.ex", "nothing in the sitemap"),
        (gzip.compress(b"x" * 100, mtime=0)[:20], "gzip data is cut off"),
    ],
    ids=[
        "empty",
        "blank",
        "sign-in page",
        "HTML page",
        "XHTML page",
        "another XML",
        "broken XML",
        "JSON",
        "PNG",
        "cut before the first page",
        "cut gzip",
    ],
)
def test_what_is_no_sitemap_says_what_it_is(data: bytes, reason: str) -> None:
    with pytest.raises(NotASitemapError) as caught:
        parse_sitemap(data, URL)
    assert reason in caught.value.message
    assert URL in caught.value.message
    assert caught.value.hint


def test_an_empty_sitemap_is_no_error() -> None:
    assert parse_sitemap(b"<urlset/>", URL).pages == []
