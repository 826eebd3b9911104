"""Reading YAML: plain data with places, and hostile text refused at little cost."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from factflow_engine.config.yaml_source import MAX_DEPTH, read_yaml


def codes(text: str) -> list[str]:
    return [issue.code for issue in read_yaml(text).issues]


def test_places_are_known_down_to_the_deepest_part_that_exists() -> None:
    document = read_yaml("a: 1\nb:\n  - x\n  - c: 2\n    d: 3\n")
    assert document.data == {"a": 1, "b": ["x", {"c": 2, "d": 3}]}
    assert document.line(("b", 1, "d")) == 5
    assert document.line(("b", 1, "missing", "deeper")) == 4
    assert document.line(("b", 7)) == 2
    assert document.line(()) == 1


def test_plain_scalars_are_known_as_written() -> None:
    document = read_yaml("a: on\nb: 'on'\nc: 010\nd: [x]\n")
    assert document.data == {"a": True, "b": "on", "c": 8, "d": ["x"]}
    assert document.written(("a",)) == "on"
    assert document.written(("b",)) is None
    assert document.written(("c",)) == "010"
    assert document.written(("nowhere",)) is None


def test_dates_and_lonely_equals_signs_stay_texts() -> None:
    assert read_yaml("a: 2026-01-31\nb: =\n").data == {"a": "2026-01-31", "b": "="}


def test_aliases_become_copies_of_their_own() -> None:
    data = read_yaml("a: &x {n: [1]}\nb: *x\n").data
    assert data == {"a": {"n": [1]}, "b": {"n": [1]}}
    assert data["a"] is not data["b"]
    assert data["a"]["n"] is not data["b"]["n"]


def test_merges_give_way_to_own_keys_and_to_earlier_merges() -> None:
    text = "p: &p {a: 1, b: 1}\nq: &q {b: 2, c: 2}\nr:\n  <<: [*p, *q]\n  a: own\n"
    assert read_yaml(text).data["r"] == {"a": "own", "b": 1, "c": 2}


def test_a_quoted_merge_key_is_a_key() -> None:
    assert read_yaml("'<<': {a: 1}\n").data == {"<<": {"a": 1}}


def test_a_merge_of_something_else_is_an_issue() -> None:
    assert codes("a: &x 1\nb: {<<: *x}\n") == ["E006"]


def test_the_first_of_two_keys_counts_and_both_lines_are_told() -> None:
    document = read_yaml("a: 1\nb: 2\na: 3\n")
    assert document.data == {"a": 1, "b": 2}
    (issue,) = document.issues
    assert issue.line == 3
    assert "line 1" in issue.message


@pytest.mark.parametrize("key", ["on", "yes", "1", "~", "1.5", "[a]", "{a: 1}"])
def test_keys_that_are_not_texts_are_refused(key: str) -> None:
    (issue,) = read_yaml(f"? {key}\n: 1\n").issues
    assert (issue.code, issue.line) == ("E006", 1)


def test_a_boolean_key_says_why() -> None:
    (issue,) = read_yaml("on: push\n").issues
    assert "`on` is read as the boolean true" in issue.message
    assert '"on"' in issue.suggestion


def test_an_issue_of_one_value_does_not_hide_the_others() -> None:
    assert codes("a: !own 1\nb: .inf\nb: 2\n3: x\n") == ["E007", "E008", "E003", "E006"]


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['true']",
        "!!binary aGk=",
        "!!set {a}",
        "!!timestamp 2026-01-01",
    ],
)
def test_tags_build_nothing(tag: str) -> None:
    assert "E007" in codes(f"a: {tag}\n")


@pytest.mark.parametrize(
    "number", ["!!int x", "9" * 30, "9" * 5000, "1:" * 400_000 + "1", "-.inf", ".nan", "1.0e+999"]
)
def test_numbers_that_json_cannot_keep_are_refused(number: str) -> None:
    assert codes(f"a: {number}\n") == ["E008"]


def laughs(levels: int) -> str:
    """Return aliases of nine aliases each: 9 ** levels values in a few hundred characters."""
    lines = ["a0: &a0 ha"]
    lines += [
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, levels)
    ]
    return "\n".join(lines)


HOSTILE = {
    "billion laughs": laughs(12),
    "billion laughs by merge": "a: &a {k: [1,2,3]}\n" + "".join(
        f"b{n}: &b{n} {{x: {'*a' if n == 0 else f'*b{n - 1}'}, "
        f"y: {'*a' if n == 0 else f'*b{n - 1}'}}}\n" for n in range(30)),
    "long text in many aliases": "a: &a " + "x" * 100_000 + "\nb: [" + "*a, " * 100 + "]",
    "depth by flow": "[" * 200_000,
    "depth by blocks": "".join(" " * n + "a:\n" for n in range(200)),
    "depth by aliases": "a0: &a0 []\n" + "".join(
        f"a{n}: &a{n} [[[[*a{n - 1}]]]]\n" for n in range(1, 20)),
    "inside itself": "a: &a {b: *a}",
    "a million values": "- \n" * 300_000,
    "too large": "a: '" + "ü" * 600_000 + "'",
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_is_refused(kind: str) -> None:
    """One issue, E004, and nothing was built of it."""
    document = read_yaml(HOSTILE[kind])
    assert [issue.code for issue in document.issues] == ["E004"]
    assert document.data is None
    assert all(len(issue.message) < 500 for issue in document.issues)


def test_reasonable_depth_and_aliases_are_fine() -> None:
    assert codes("[" * MAX_DEPTH + "]" * MAX_DEPTH) == []
    assert codes(laughs(4)) == []


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x7f", "\ud800", "\ufffe"])
def test_characters_that_yaml_refuses_are_named(character: str) -> None:
    (issue,) = read_yaml(f"a: 1\nb: {character}\n").issues
    assert (issue.code, issue.line) == ("E001", 2)
    assert f"U+{ord(character):04X}" in issue.message


def test_a_tab_is_told_as_a_tab() -> None:
    (issue,) = read_yaml("a:\n\tb: 1\n").issues
    assert (issue.code, issue.line) == ("E001", 2)
    assert "tab" in issue.suggestion


def test_unfinished_text_points_to_where_it_began() -> None:
    (issue,) = read_yaml("a: 1\nb: [1,\n\n\n").issues
    assert (issue.code, issue.line) == ("E001", 2)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz-_", min_size=1), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(JSON_VALUES, st.booleans())
def test_what_yaml_writes_is_read_back(value: object, flow: bool) -> None:
    """Whatever JSON-able value is dumped as YAML, reading gives it back."""
    text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True)
    document = read_yaml(text)
    assert document.issues == ()
    assert document.data == value
