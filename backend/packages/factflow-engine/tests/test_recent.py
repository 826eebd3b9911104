"""What was just stored is handed on in memory, within a limit."""

from __future__ import annotations

from factflow_engine.recent import RecentArtefacts


def test_an_artefact_is_handed_out_once() -> None:
    recent = RecentArtefacts()
    recent.put("a", b"data")
    assert recent.take("a") == b"data"
    assert recent.take("a") is None


def test_what_is_there_stays_when_the_limit_is_reached() -> None:
    recent = RecentArtefacts(limit_bytes=10)
    for key in ("a", "b", "c"):
        recent.put(key, b"12345")
    assert recent.take("c") is None
    assert recent.take("a") == b"12345"
    recent.put("c", b"12345")
    assert [recent.take(key) for key in ("b", "c")] == [b"12345", b"12345"]
