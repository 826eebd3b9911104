"""Which lines of a markdown text are headings, and what stands over a place."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from factflow_markdown.headings import LONGEST_TEXT, Outline, find_headings


def levels(markdown: str) -> list[tuple[int, str]]:
    return [(heading.level, heading.text) for heading in find_headings(markdown)]


def test_atx_and_setext_headings_are_found_without_their_markup() -> None:
    text = "# One #\n\nTwo *words*\n---\n\n### [Three](http://x/(y)) `code`\n\n#no\n\nFour\n====\n"
    assert levels(text) == [(1, "One"), (2, "Two words"), (3, "Three code"), (1, "Four")]


@pytest.mark.parametrize(
    "text",
    [
        "```\n# not\n```\n",
        "~~~~\n# not\n~~~\n# not\n~~~~\n",
        "- item\n\n  ```sh\n  # not\n  ```\n",
        "    # not\n",
        "\\# not\n",
        "---\ntitle: not\n---\n",
        "- a\n---\n",
        "| a |\n| --- |\n",
    ],
)
def test_what_only_looks_like_a_heading_is_none(text: str) -> None:
    assert levels(text) == []


def test_offsets_cover_the_headings_lines() -> None:
    text = "intro\n\n## A\nx\n\nB\n---\ny\n"
    assert [text[one.start : one.end] for one in find_headings(text)] == ["## A\n", "B\n---\n"]


def test_the_path_at_a_place_is_what_stands_over_it() -> None:
    text = "a\n# One\nb\n### Deep\nc\n## Two\nd\n# Three\ne\n"
    outline = Outline(text)
    paths = [outline.path_at(text.index(f"{letter}\n")) for letter in "abcd"]
    assert paths == [(), ("One",), ("One", "Deep"), ("One", "Two")]


def test_a_heading_without_end_is_shortened() -> None:
    (heading,) = find_headings("# " + "x" * 100_000)
    assert len(heading.text) == LONGEST_TEXT


@pytest.mark.parametrize(
    "line", ["# a" + " " * 200_000 + "b", "- " * 100_000, "# " + "[" * 100_000, "#" * 99_999]
)
def test_a_hostile_line_is_read_in_linear_time(line: str) -> None:
    assert len(find_headings(line)) <= 1


LINES = st.lists(
    st.sampled_from(
        ["# A", "## B #", "C", "===", "---", "", "```", "~~~", "    # code", "#no", "text", "### "]
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(LINES)
def test_headings_agree_with_a_commonmark_parser(lines: list[str]) -> None:
    text = "\n" + "\n".join(lines) + "\n"
    tokens = MarkdownIt("commonmark").parse(text)
    expected = [
        (int(token.tag[1]), " ".join(tokens[index + 1].content.split()))
        for index, token in enumerate(tokens)
        if token.type == "heading_open"
    ]
    assert levels(text) == expected
