"""When a stage's condition holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factflow_engine.conditions import MAX_TEXT, Condition
from factflow_engine.config.models import ConditionConfig

PAYLOAD: dict[str, Any] = {
    "url": "https://example.com/a",
    "page": {"links": ["x", {"href": "y"}], "depth": 2},
    "page.depth": "spelt out",
    "tags": ["a", 1, None],
    "score": 0.5,
    "flag": True,
    "empty": None,
}
METADATA = {"title": "Hello", "url": "from metadata", "nested": {"n": 1}}
NO_VALUE = object()


def holds(field: str, operator: str, value: Any = NO_VALUE, payload: Any = PAYLOAD) -> bool:
    data = {"field": field, "operator": operator}
    if value is not NO_VALUE:
        data["value"] = value
    return Condition(ConditionConfig.model_validate(data)).holds(payload, METADATA)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "https://example.com/a"),  # the payload before the metadata
        ("title", "Hello"),  # the metadata when the payload has none
        ("page.links.1.href", "y"),
        ("page.depth", "spelt out"),  # a key of the whole path before the path
        ("nested.n", 1),
        ("empty", None),
    ],
)
def test_fields_are_looked_up(field: str, value: Any) -> None:
    assert holds(field, "equals", value)


@pytest.mark.parametrize(
    "field",
    ["nope", "page.nope", "page.links.2", "page.links.-1", "page.links.²", "url.x", "a..b", "."],
)
def test_a_missing_field_holds_only_for_not_equals_and_not_exists(field: str) -> None:
    assert holds(field, "not_equals", "x")
    assert holds(field, "exists", False)
    assert not holds(field, "exists")
    assert not holds(field, "equals", None)
    assert not holds(field, "in", [None])
    assert not holds(field, "contains", "x")
    assert not holds(field, "matches", "")
    assert not holds(field, "gt", 0)
    assert not holds(field, "lt", 0)


@pytest.mark.parametrize(
    ("field", "operator", "value", "expected"),
    [
        ("score", "equals", 0.5, True),
        ("page.links.0", "not_equals", "x", False),
        ("flag", "equals", 1, False),
        ("flag", "not_equals", 1, True),
        ("flag", "equals", True, True),
        ("score", "in", ["a", 0.5], True),
        ("flag", "in", [1], False),
        ("url", "in", [], False),
        ("url", "contains", "example", True),
        ("url", "contains", 1, False),
        ("tags", "contains", 1, True),
        ("tags", "contains", True, False),
        ("page", "contains", "links", True),
        ("score", "contains", "0", False),
        ("url", "matches", "^https://", True),
        ("url", "matches", "example", True),  # anywhere
        ("url", "matches", "^example", False),
        ("score", "matches", ".", False),
        ("empty", "exists", True, True),
        ("empty", "exists", False, False),
        ("score", "gt", 0, True),
        ("score", "gt", 0.5, False),
        ("score", "lt", 1, True),
        ("url", "gt", "a", True),
        ("url", "gt", 0, False),  # a text against a number
        ("flag", "gt", 0, False),  # a boolean is no number
        ("tags", "lt", 5, False),
        ("empty", "lt", 5, False),
    ],
)
def test_operators(field: str, operator: str, value: Any, expected: bool) -> None:
    assert holds(field, operator, value) is expected


def test_lists_can_be_the_payload() -> None:
    assert holds("0.n", "equals", 1, payload=[{"n": 1}])


@pytest.mark.parametrize("payload", ["text", b"bytes", 5, True])
def test_other_payloads_have_no_fields_but_their_metadata_has(payload: Any) -> None:
    assert holds("title", "equals", "Hello", payload=payload)
    assert not holds("page", "exists", payload=payload)


def test_a_text_that_is_too_long_matches_nothing() -> None:
    assert holds("t", "matches", "x$", payload={"t": "x" * MAX_TEXT})
    assert not holds("t", "matches", "x$", payload={"t": "x" * (MAX_TEXT + 1)})


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab01", max_size=2), inner),
    max_leaves=6,
)
PAIRS = {
    "equals": VALUES,
    "in": st.lists(VALUES, max_size=3),
    "contains": VALUES.filter(lambda value: value is not None),
    "matches": st.sampled_from(["a", "^$", "[0-9]"]),
    "exists": st.sampled_from([None, True, False]),
    "gt": st.integers() | st.text(max_size=3),
    "lt": st.floats() | st.text(max_size=3),
}


@given(st.data(), VALUES, st.text("ab01.", min_size=1, max_size=4), st.sampled_from(sorted(PAIRS)))
def test_no_message_makes_a_condition_raise(
    data: st.DataObject, payload: Any, field: str, operator: Any
) -> None:
    value = data.draw(PAIRS[operator])
    condition = Condition(
        ConditionConfig.model_construct(field=field, operator=operator, value=value)
    )
    assert condition.holds(payload, {}) in {True, False}


@given(VALUES, VALUES)
def test_not_equals_is_the_opposite_of_equals(found: Any, value: Any) -> None:
    payload = {"f": found}
    assert holds("f", "equals", value, payload) is not holds("f", "not_equals", value, payload)
