"""A variable that a pipeline needs and the server lacks is told before anything is stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from factflow_engine.config.secrets import MissingVariableError
from factflow_testing.platform import platform_in

PIPELINE = """
version: "1.0"
routes:
  r:
    inbound: {queue: q}
    adapters:
      - {type: echo, config: {suffix: "${NOT_SET_FOR_THIS_TEST}"}}
init_message: {route: r, payload: {n: 1}}
"""


async def test_a_missing_variable_is_named_with_its_place_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET_FOR_THIS_TEST", raising=False)
    async with platform_in(tmp_path) as platform:
        with pytest.raises(MissingVariableError) as caught:
            await platform.start(PIPELINE)
        assert "routes.r.adapters[0].config.suffix" in caught.value.message
        assert "NOT_SET_FOR_THIS_TEST" in caught.value.message
        assert (await platform.executions.list()).total == 0
        monkeypatch.setenv("NOT_SET_FOR_THIS_TEST", "now it is")
        assert (await platform.run(PIPELINE)).status == "completed"
