"""The encoding of a page is found as browsers find it."""

from __future__ import annotations

import pytest

from factflow_webscraper.charset import decode
from factflow_webscraper.page import page_facts

TEXT = "<p>Größe – 日本</p>"
LATIN = "<p>Größe – ‘x’</p>"


@pytest.mark.parametrize(
    ("body", "content_type", "text", "charset"),
    [
        (b"\xef\xbb\xbf" + TEXT.encode(), "text/html; charset=iso-8859-1", TEXT, "utf-8"),
        (b"\xff\xfe" + TEXT.encode("utf-16-le"), "text/html", TEXT, "utf-16le"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "", TEXT, "utf-16be"),
        (LATIN.encode("cp1252"), "text/html; charset=ISO-8859-1", LATIN, "windows-1252"),
        (LATIN.encode("cp1252"), "text/html", LATIN, "windows-1252"),
        (TEXT.encode(), "text/html", TEXT, "utf-8"),
        (TEXT.encode(), 'text/html; charset="UTF8"', TEXT, "utf-8"),
        (b"<meta charset=shift_jis>" + "日本".encode("cp932"), "text/html",
         "<meta charset=shift_jis>日本", "cp932"),
        (b'<meta http-equiv="Content-Type" content="text/html; charset=gb2312">' + "汉".encode("gbk"),
         "", '<meta http-equiv="Content-Type" content="text/html; charset=gb2312">汉', "gb18030"),
        (b'<?xml version="1.0" encoding="koi8-r"?>' + "да".encode("koi8-r"), "",
         '<?xml version="1.0" encoding="koi8-r"?>да', "koi8-r"),
        (b"<meta charset=utf-16>" + "ü".encode(), "", "<meta charset=utf-16>ü", "utf-8"),
        (TEXT.encode(), "text/html; charset=unicode_escape", TEXT, "utf-8"),
        (TEXT.encode(), "text/html; charset=zip", TEXT, "utf-8"),
    ],
)  # fmt: skip
def test_the_page_is_read_by_its_encoding(
    body: bytes, content_type: str, text: str, charset: str
) -> None:
    found = decode(body, content_type)
    assert (found.text, found.charset, found.damaged) == (text, charset, False)


def test_bytes_that_do_not_fit_are_marked() -> None:
    found = decode(b"a\xffb", "text/html; charset=utf-8")
    assert found.text == "a\N{REPLACEMENT CHARACTER}b"
    assert found.damaged


def test_all_bytes_have_a_meaning_in_windows_1252() -> None:
    assert len(decode(bytes(range(128, 256)), "text/html; charset=latin1").text) == 128


def test_title_and_language_come_from_the_head() -> None:
    html = (
        "<!doctype html><html lang='de-AT'><head><title>\n A &amp;  B </title></head>"
        "<body><svg><title>drawing</title></svg></body></html>"
    )
    facts = page_facts(html)
    assert (facts.title, facts.language) == ("A & B", "de-AT")


@pytest.mark.parametrize("html", ["", "plain", "<html lang='<x>'><svg><title>no</title></svg>"])
def test_a_page_that_says_nothing_has_no_title_and_language(html: str) -> None:
    facts = page_facts(html)
    assert (facts.title, facts.language) == ("", None)
