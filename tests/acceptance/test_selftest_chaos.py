"""`factflow selftest chaos`, as a user types it: a server is killed at random, and nothing is lost."""

from __future__ import annotations

import pytest

from factflow_testing.server_process import run_command


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kills", "seed"), [(4, 11), (25, 12)])
def test_random_kills_lose_nothing_and_commit_nothing_twice(kills: int, seed: int) -> None:
    ended = run_command(
        "factflow", "selftest", "chaos", "--kills", str(kills), "--seed", str(seed), seconds=540
    )
    assert ended.json["problems"] == []
    figures = ended.done()
    assert (figures["holds"], figures["kills"]) == (True, kills)
    assert (figures["lost"], figures["committed_twice"], figures["wrongly_repeated"]) == (0, 0, 0)
    assert figures["announced"] == sum(figures["outcomes"].values()) > 0
    assert figures["repeated"] <= figures["in_flight"]
    assert figures["lineage_rows"] == figures["records"] > 0
