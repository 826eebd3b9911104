"""Listings of large folders: in order whatever is held in memory, and without holding up the event loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from factflow_infra.storage import paced as paced_module
from factflow_infra.storage.listing import walk
from factflow_infra.storage.record_listing import walk_records


@pytest.mark.parametrize("held", [1, 7, 100, 1000])
@pytest.mark.parametrize("records", [False, True])
def test_a_large_folder_is_listed_some_names_at_a_time(
    tmp_path: Path, held: int, records: bool
) -> None:
    """The order is the same, however few names are held; folders stand among them."""
    names = [f"{n * 7919 % 500:03}" for n in range(100)]
    for name in names:
        (tmp_path / f"{name}.meta.json").write_text("{}")
        (tmp_path / f"{name}.txt").write_text("x")
        (tmp_path / f"{name}-folder").mkdir()
        (tmp_path / f"{name}-folder" / "inside.meta.json").write_text("{}")
        (tmp_path / f"{name}-folder" / "inside.txt").write_text("x")
    extension = "" if records else ".txt"
    expected = sorted(key + extension for name in names for key in (name, f"{name}-folder/inside"))
    listed = [item.key for item in walk(str(tmp_path), "", records=records, held=held) if item]
    assert listed == expected
    found = [item for item in walk_records(str(tmp_path), "", alone=False, held=held) if item]
    assert [item.key for item in found] == sorted(key.removesuffix(".txt") for key in expected)
    assert {len(item.objects) for item in found} == {1}
    found = [item for item in walk_records(str(tmp_path), "", alone=True, held=held) if item]
    assert found == []


async def test_a_slow_disk_is_waited_for_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after a slice that took long is pulled elsewhere, and nothing is lost on the way."""
    monkeypatch.setattr(paced_module, "SLOW", 0.0)
    pulled_in: list[int] = []

    def items() -> Iterator[int | None]:
        for number in range(300):
            pulled_in.append(threading.get_ident())
            yield number if number % 3 else None
            until = time.monotonic() + paced_module.SLICE / 10
            while time.monotonic() < until:
                pass

    assert [n async for n in paced_module.paced(items())] == [n for n in range(300) if n % 3]
    assert threading.get_ident() in pulled_in
    assert len(set(pulled_in)) > 1
