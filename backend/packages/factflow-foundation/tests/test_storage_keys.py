"""Keys come from outside too: what could leave the store or confuse a reader is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factflow_foundation import keys
from factflow_protocols.errors import KeyRefusedError

REFUSED = [
    "",
    "/etc/passwd",
    "../x",
    "a/../b",
    "a/./b",
    "a//b",
    "a/",
    "a\\b",
    "a\nb",
    "a\x00b",
    "a\x7f",
    "\ud800",
    "x" * 201,
    "a/" * 600 + "a",
]
FINE = [
    "executions/e/r/s/m.html",
    "a",
    "ä/ö",
    "emoji/😀",
    "a b/c#d?e%2e",
    ".hidden/x",
    "m~2.json",
    "..x/y..",
]


@pytest.mark.parametrize("key", REFUSED)
def test_hostile_keys_are_refused(key: str) -> None:
    with pytest.raises(KeyRefusedError):
        keys.check_key(key)


@pytest.mark.parametrize("key", FINE)
def test_ordinary_keys_pass_unchanged(key: str) -> None:
    assert keys.check_key(key) == key


@given(st.text(max_size=30))
def test_no_accepted_key_leaves_the_store(key: str) -> None:
    try:
        keys.check_key(key)
    except KeyRefusedError:
        return
    assert not key.startswith("/")
    assert all(segment not in {"", ".", ".."} for segment in key.split("/"))
    assert not any(ord(char) < 32 for char in key)


def test_a_stage_key_is_where_the_documents_say() -> None:
    key = keys.stage_key("e1", "r", "s", "m")
    assert str(key) == "executions/e1/r/s/m"
    assert str(key).startswith(keys.stage_prefix("e1", "r", "s") + "/")


@pytest.mark.parametrize(
    ("content_type", "extension"),
    [
        ("text/html; charset=utf-8", ".html"),
        ("application/json", ".json"),
        ("text/markdown", ".md"),
        ("application/x-nobody-knows", ""),
    ],
)
def test_extensions_tell_the_content_type(content_type: str, extension: str) -> None:
    assert keys.extension_for(content_type) == extension
