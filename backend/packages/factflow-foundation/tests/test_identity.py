"""Names that must never change: artefacts, queues and lineage of earlier versions are found by them."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from factflow_foundation import ids

PARTS = st.lists(st.text(max_size=8), max_size=4)


@given(PARTS, PARTS)
def test_different_parts_have_different_names(one: list[str], other: list[str]) -> None:
    assert (ids.derive(*one) == ids.derive(*other)) == (one == other)


def test_names_are_the_same_in_every_version() -> None:
    origin = ids.init_origin("first")
    assert origin == "69f5de885253f86e1984ae6fca8d50a8"
    child = ids.child_origin(origin, "first", "fan", "start", "=https://example.com/")
    assert child == "9ac0cbd6a451491415b8e5c48029ec77"
    assert ids.message_id("an-execution", child) != ids.message_id("another", child)


def test_siblings_are_named_by_key_or_ordinal_and_repeats_are_numbered() -> None:
    names = ids.ChildNames()
    assert [names.next(key) for key in ("a", None, "a", "b", None)] == [
        "=a",
        "@1",
        "=a#2",
        "=b",
        "@4",
    ]


def test_execution_ids_are_uuid_7_and_sort_by_time() -> None:
    drawn = [ids.execution_id() for _ in range(200)]
    assert len(set(drawn)) == 200
    assert {uuid.UUID(value).version for value in drawn} == {7}
    assert [value[:13] for value in drawn] == sorted(value[:13] for value in drawn)
