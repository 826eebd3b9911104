"""Segments: bounded, in order, whole, and with the headings that stand over them."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factflow_markdown.segments import Segment, SegmentLimits, segment_markdown
from factflow_markdown.tokens import LONGEST_RUN, TokenCounter, UnknownTokenizerError

COUNTER = TokenCounter("gpt-4o")


def cut(markdown: str, maximum: int = 64, minimum: int = 16, overlap: int = 0) -> list[Segment]:
    return segment_markdown(markdown, COUNTER, SegmentLimits(maximum, minimum, overlap))


def prose(words: int) -> str:
    return " ".join(f"word{n}" for n in range(words))


def test_counts_are_those_of_the_models_vocabulary() -> None:
    assert [COUNTER.count(text) for text in ("", "hello world", "a", " " * 200)] == [0, 2, 1, 2]
    assert COUNTER.count("tokenization") == 2
    assert TokenCounter("gpt-4").count("日本語テキスト") > COUNTER.count("日本語テキスト")


def test_an_unknown_tokenizer_says_which_are_known() -> None:
    with pytest.raises(UnknownTokenizerError, match="gpt-4o"):
        TokenCounter("nobody-knows-it")


def test_a_heading_goes_with_its_text() -> None:
    segments = cut(f"# One\n\n{prose(40)}\n\n## Two\n\n{prose(200)}\n")
    assert segments[0].text.startswith("# One\n\nword0")
    assert any(one.text.startswith("## Two\n\nword0") for one in segments)
    assert not any(one.text.lstrip("# ").strip() in {"One", "Two"} for one in segments)


def test_small_sections_are_joined_and_sections_of_some_size_stand_alone() -> None:
    small = "".join(f"## S{n}\n\nshort\n\n" for n in range(4))
    assert len(cut(small, 64, 16)) < 4
    assert len(cut(small, 64, 0)) == 4


def test_the_heading_path_is_that_of_the_segments_first_text() -> None:
    segments = cut(
        f"intro\n\n# A\n\n## B\n\n{prose(30)}\n\n```\n# no heading\n```\n\n## C\n\n{prose(30)}",
        96,
        0,
    )
    assert [one.heading_path for one in segments] == [(), ("A", "B"), ("A", "C")]


def test_places_number_the_segments_under_one_path() -> None:
    segments = cut(f"# A\n\n{prose(100)}\n\n# A\n\n{prose(10)}", 64, 0)
    assert [one.place for one in segments] == list(range(len(segments)))
    assert {one.heading_path for one in segments} == {("A",)}


def test_a_code_block_that_fits_is_never_cut() -> None:
    code = "```python\n" + "".join(f"value_{n} = {n}\n" for n in range(8)) + "```"
    text = "\n\n".join(f"## Part {n}\n\n{prose(10 + 3 * n)}\n\n{code}" for n in range(6))
    assert COUNTER.fits(code, 64)
    assert sum(code in one.text for one in cut(text, 64)) == 6


def test_a_table_is_cut_between_rows() -> None:
    rows = [f"| cell {n} | some words in a row {n} |" for n in range(40)]
    text = "# T\n\n| a | b |\n| --- | --- |\n" + "\n".join(rows) + "\n"
    segments = cut(text, 64)
    assert len(segments) > 3
    assert all(any(row in one.text for one in segments) for row in rows)


def test_pieces_of_one_section_overlap_when_asked() -> None:
    text = "# T\n\n" + " ".join(f"Sentence number {n}." for n in range(60))
    apart, shared = cut(text, 64, 16, 0), cut(text, 64, 16, 20)
    assert all(one.end <= other.start for one, other in pairwise(apart))
    assert any(one.end > other.start for one, other in pairwise(shared))
    assert max(one.token_count for one in shared) <= 64


def test_nothing_gives_no_segments() -> None:
    assert cut("") == cut(" \n\n ") == []


@pytest.mark.long
def test_runs_without_white_space_are_cut_in_bounded_parts() -> None:
    text = "# T\n\n" + "ab1" * 40_000
    segments = cut(text, 512)
    assert covered(text, segments) == set(non_blank(text))
    assert max(one.token_count for one in segments) <= 512
    assert max(len(one.text) for one in segments) <= LONGEST_RUN + 10


def test_thousands_of_headings_are_segmented() -> None:
    segments = cut("".join(f"# h{n}\n" for n in range(3000)), 256, 64)
    assert max(one.token_count for one in segments) <= 256
    assert sum(one.text.count("#") for one in segments) == 3000


def non_blank(text: str) -> list[int]:
    return [index for index, char in enumerate(text) if not char.isspace()]


def covered(text: str, segments: list[Segment]) -> set[int]:
    return {index for one in segments for index in non_blank(text) if one.start <= index < one.end}


BLOCKS = st.one_of(
    st.sampled_from(["# One", "## Two", "### Three", "Under\n-----", "---", "> quoted words"]),
    st.integers(1, 120).map(prose),
    st.integers(1, 15).map(lambda n: "```sh\n" + "# run it now\n" * n + "```"),
    st.integers(1, 10).map(lambda n: "| a | b |\n| - | - |\n" + "| one | two |\n" * n),
    st.integers(1, 10).map(lambda n: "- item of a list\n  * inner\n" * n),
    st.text(max_size=40),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(BLOCKS, max_size=15), st.integers(16, 128), st.integers(0, 64), st.integers(0, 8))
def test_segments_cover_the_text_in_order_and_within_the_limit(
    blocks: list[str], maximum: int, minimum: int, overlap: int
) -> None:
    text = "\n\n".join(blocks)
    segments = cut(text, maximum, min(minimum, maximum), overlap)
    assert covered(text, segments) == set(non_blank(text))
    assert [one.ordinal for one in segments] == list(range(len(segments)))
    assert [one.start for one in segments] == sorted({one.start for one in segments})
    for one in segments:
        assert one.text == text[one.start : one.end]
        assert one.token_count == COUNTER.count(one.text) <= maximum
        assert re.search(r"\S", one.text)
