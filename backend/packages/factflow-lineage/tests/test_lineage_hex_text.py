"""Ids and hashes in the database."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from factflow_lineage.hex_text import packed, unpacked

_ODD = st.text(st.characters(exclude_categories=["Cs"]), max_size=70)
_HEX = st.text("0123456789abcdefABCDEF \n", min_size=30, max_size=66)


@given(_ODD | _HEX | st.binary(max_size=40).map(bytes.hex))
def test_every_text_comes_back_as_it_was(text: str) -> None:
    """Also capitals, blanks and other lengths, which are no hash."""
    assert unpacked(packed(text)) == text


@given(st.lists(st.binary(min_size=16, max_size=16) | st.binary(min_size=32, max_size=32)))
def test_hashes_take_half_their_length(hashes: list[bytes]) -> None:
    """Whatever byte they begin or end with."""
    for raw in [*hashes, b"\xff" * 16, b"\xff" * 32, bytes(16)]:
        assert packed(raw.hex()) == raw
        assert unpacked(raw) == raw.hex()
