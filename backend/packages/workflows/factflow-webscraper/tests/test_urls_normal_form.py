"""URLs have one spelling, and only those that can be fetched safely are let through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factflow_webscraper.urls import UrlRefusedError, dedupe_key, resolve, same_site, shorten

BASE = "https://base.example/docs/sitemap.xml"


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("HTTP://Example.COM:80/a/../b?x=1#part", "http://example.com/b?x=1"),
        ("https://example.com:443", "https://example.com/"),
        ("https://example.com:8443/a", "https://example.com:8443/a"),
        ("  https://example.com/a\n", "https://example.com/a"),
        ("https://example.com/größe?q=ü", "https://example.com/gr%C3%B6%C3%9Fe?q=%C3%BC"),
        ("https://straße.example/", "https://xn--strae-oqa.example/"),
        ("https://example.com/caf%c3%a9", "https://example.com/caf%c3%a9"),
        ("https://example.com/a/./b/..", "https://example.com/a/"),
        ("https://[2606:4700::1111]:80/", "https://[2606:4700::1111]:80/"),
        ("page/2", "https://base.example/docs/page/2"),
        ("/top", "https://base.example/top"),
        ("//other.example/x", "https://other.example/x"),
        ("?page=2", "https://base.example/docs/sitemap.xml?page=2"),
    ],
)
def test_a_url_is_written_one_way(written: str, normal: str) -> None:
    assert resolve(written, BASE) == normal


@pytest.mark.parametrize(
    "written",
    [
        "",
        "javascript:alert(1)",
        "mailto:a@example.com",
        "ftp://example.com/a",
        "file:///etc/passwd",
        "not a url",
        "http:///path",
        "http://user:secret@example.com/",
        "http://good.example\\@evil.example/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://0x7f.0.0.1/",
        "http://127.1/",
        "http://999.1.1.1/",
        "http://example.com:99999/",
        "http://example.com:0/",
        "http://exa mple.com/",
        "http://[fe80::1%25eth0]/",
        "http://example.com/\x00",
        "http://" + "a" * 300 + ".example/",
        "http://example.com/" + "a" * 9000,
    ],
)
def test_what_cannot_be_fetched_is_refused_with_a_reason(written: str) -> None:
    with pytest.raises(UrlRefusedError) as caught:
        resolve(written, BASE)
    assert len(caught.value.message) > 20
    assert "secret" not in caught.value.message


def test_error_texts_hide_passwords_and_control_characters() -> None:
    assert "hunter2" not in shorten("http://joe:hunter2@example.com/")
    assert "\x1b" not in shorten("http://x/\x1b[31m")


def test_spellings_of_one_page_have_one_key() -> None:
    assert dedupe_key("http://a.example/%7ejoe/%c3") == dedupe_key("http://a.example/~joe/%C3")
    assert dedupe_key("http://a.example/b") != dedupe_key("http://a.example/B")
    assert dedupe_key("http://a.example/%2F") != dedupe_key("http://a.example//")


def test_www_and_scheme_do_not_make_another_site_but_ports_do() -> None:
    assert same_site("https://www.example.com/a", "http://example.com/")
    assert not same_site("https://docs.example.com/", "https://example.com/")
    assert not same_site("http://example.com:81/", "http://example.com/")


@given(st.text(max_size=60))
def test_any_text_gives_a_stable_url_or_a_refusal(text: str) -> None:
    try:
        url = resolve(text, BASE)
    except UrlRefusedError:
        return
    assert resolve(url) == url
    assert url.isascii()
    assert url.startswith(("http://", "https://"))
