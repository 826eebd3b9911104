"""Environment references: what is replaced, what is left, what is missing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factflow_engine.config.secrets import (
    MissingVariableError,
    is_bare_reference,
    missing_variables,
    resolve_environment,
)

ENVIRON = {"KEY": "s3cret", "EMPTY": "", "TRICKY": "${KEY} and $${KEY}"}


@pytest.mark.parametrize(
    ("written", "resolved"),
    [
        ("${KEY}", "s3cret"),
        ("Bearer ${KEY}!", "Bearer s3cret!"),
        ("${KEY}${KEY}", "s3crets3cret"),
        ("${NONE:-fallback}", "fallback"),
        ("${EMPTY:-fallback}", "fallback"),
        ("${NONE:-}", ""),
        ("${KEY:-fallback}", "s3cret"),
        ("$${KEY}", "${KEY}"),
        ("${TRICKY}", "${KEY} and $${KEY}"),
        ("$KEY ${} ${1A} ${a-b}", "$KEY ${} ${1A} ${a-b}"),
        (5, 5),
        (None, None),
        ({"a": ["${KEY}", {"b": "${KEY}"}]}, {"a": ["s3cret", {"b": "s3cret"}]}),
    ],
)
def test_references_are_replaced_once_and_nothing_else_is(written: Any, resolved: Any) -> None:
    config = {"x": written}
    assert resolve_environment(config, ENVIRON) == {"x": resolved}
    assert config == {"x": written}


@pytest.mark.parametrize("name", ["NONE", "EMPTY"])
def test_a_missing_variable_names_itself_and_its_place(name: str) -> None:
    config = {"headers": [{"auth": f"Bearer ${{{name}}}"}]}
    with pytest.raises(MissingVariableError) as caught:
        resolve_environment(config, ENVIRON, path=("routes", "a", "adapters", 0, "config"))
    assert (
        f"routes.a.adapters[0].config.headers[0].auth needs the environment variable {name}"
        in str(caught.value)
    )
    assert name in caught.value.hint
    assert caught.value.code == "config_invalid"


def test_all_missing_variables_are_listed() -> None:
    config = {"a": "${ONE} ${KEY} ${TWO:-2}", "b": ["${THREE}", "$${FOUR}"]}
    assert missing_variables(config, ENVIRON) == [(("a",), "ONE"), (("b", 0), "THREE")]


@pytest.mark.parametrize(
    ("value", "bare"),
    [("${KEY}", True), ("${KEY:-x}", False), (" ${KEY}", False), ("$${KEY}", False), (3, False)],
)
def test_only_a_bare_reference_is_fit_for_a_secret(value: Any, bare: bool) -> None:
    assert is_bare_reference(value) is bare


@given(st.text(alphabet="$}{:-AB_1 "))
def test_missing_is_exactly_what_resolving_refuses(text: str) -> None:
    environ = {"A": "1"}
    missing = missing_variables({"x": text}, environ)
    if missing:
        with pytest.raises(MissingVariableError):
            resolve_environment({"x": text}, environ)
    else:
        assert isinstance(resolve_environment({"x": text}, environ)["x"], str)
