"""Markup made to break a parser: bounded, and its text is never lost silently."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factflow_markdown.markdown_conversion import to_markdown
from factflow_markdown.nesting import MAX_DEPTH, MAX_TAGS, flatten, text_only
from factflow_markdown.page_text import PIECE_CHARACTERS

HOSTILE = {
    "deep divs": "<div>" * 100_000 + "needle",
    "deep divs closed": "<div>" * 20_000 + "needle" + "</div>" * 20_000,
    "deep lists": "<ul><li>" * 20_000 + "needle",
    "deep quotes": "<blockquote>" * 20_000 + "needle",
    "deep tables": "<table><tr><td>" * 20_000 + "needle",
    "unclosed spans": "<span>" * 100_000 + "needle",
    "formatting cloned into paragraphs": "".join(f"<b a={n}>" for n in range(5000))
    + "<p>needle" * 5000,
    "closing tags of others": "<b><div></b><i><p></i>" * 10_000 + "needle",
    "many attributes": "<p " + " ".join(f"a{n}=1" for n in range(50_000)) + ">needle",
    "foreign content": "<svg><foreignObject>" * 20_000 + "needle",
    "null bytes": "\0<p>\0need\0le\0" * 100,
    "control characters": "<p>\x01\x02\x03" * 1000 + "needle",
    "lone surrogate": "<p>needle \ud800</p>",
    "unclosed tag": "<p>needle</p><a href='",
    "unclosed comment": "<p>needle</p><!--" * 2,
    "wide cells": "<table>" + "<tr><td colspan=1000>x" * 500 + "<tr><td>needle",
    "open brackets": "<p>needle</p>" + "<a" * 100_000,
    "cdata": "<svg><![CDATA[></svg>]]>" * 5_000 + "needle",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_markup_gives_its_text(name: str) -> None:
    result = to_markdown(HOSTILE[name], "https://example.org/")
    assert "needle" in result.text
    assert len(result.text) < 40 * len(HOSTILE[name])


def test_ten_megabytes_of_paragraphs_are_converted() -> None:
    html = "<main>" + ("<p>" + "word " * 200 + "</p>") * 10_000 + "<p>needle</p></main>"
    assert len(html) > 10_000_000
    assert "needle" in to_markdown(html).text[-20:]


def test_a_long_page_is_the_same_in_pieces_as_whole() -> None:
    part = "<h2>H</h2><p>a <b>b</b> c</p>text <i>inline</i><ul><li>one</li></ul><pre>x  y</pre>"
    html = f"<main><div>{part * 8000}</div></main>"
    assert len(html) > 2 * PIECE_CHARACTERS
    once = to_markdown(f"<main><div>{part}</div></main>").text
    assert to_markdown(html).text == "\n".join([once] * 8000)


def test_more_tags_than_a_tree_may_have_give_the_text_without_structure() -> None:
    result = to_markdown("<i>" * (MAX_TAGS + 1) + "needle")
    assert (result.text, result.found_by) == ("needle\n", "text")


def test_a_page_without_text_gives_nothing_rather_than_something_made_up() -> None:
    assert to_markdown("").text == ""
    assert to_markdown("<html><body><script>x()</script></body></html>").text == ""


def test_markup_within_the_limits_is_not_touched() -> None:
    html = "<div>" * MAX_DEPTH + "x" + "</div>" * MAX_DEPTH + "<p>a<p>b<ul><li>c<li>d</ul>" * 500
    assert flatten(html) is html


def test_script_text_is_not_taken_for_markup() -> None:
    html = "<script>" + "'<div>' + " * 1000 + "</script><p>x</p>"
    assert flatten(html) is html


def test_only_the_tags_too_deep_are_left_out() -> None:
    html = (
        "<div>" * MAX_DEPTH + "<section>a</section><p>b</p>" + "</div>" * MAX_DEPTH + "<h2>c</h2>"
    )
    flat = flatten(html)
    assert "section" not in flat
    assert "<p>b</p>" in flat
    assert flat.endswith("</div><h2>c</h2>")


def test_text_only_leaves_scripts_out_and_reads_entities() -> None:
    assert text_only("<head><title>t</title></head><p>a&amp;b</p><script>no</script>c").split() == [
        "a&b",
        "c",
    ]


HTML_NAMES = {"div", "p", "span", "b", "i", "ul", "li", "table", "tr", "td", "pre", "code", "h2"}
HTML_NAMES |= {"a", "form", "svg", "select", "main", "nav", "script", "style"}
TAGS = st.sampled_from(sorted(HTML_NAMES))
PIECES = st.one_of(
    TAGS.map(lambda name: f"<{name}>"),
    TAGS.map(lambda name: f"</{name}>"),
    st.sampled_from(
        ["<!--", "-->", "<", ">", "&", "&lt;", "'", '"', "\0", "<br/>", "<a href='#'>"]
    ),
    st.text(max_size=5),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=60))
def test_any_soup_is_converted_without_an_error(pieces: list[str]) -> None:
    html = "".join(pieces)
    assert to_markdown(html, "https://example.org/a/").text.count("\0") == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("abcdefghij", min_size=3, max_size=8), min_size=1, max_size=20))
def test_every_word_of_plain_paragraphs_is_in_the_markdown(words: list[str]) -> None:
    html = "<main>" + "".join(f"<p>{word}</p>" for word in words) + "</main>"
    assert to_markdown(html).text.split() == words
