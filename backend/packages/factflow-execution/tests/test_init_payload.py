from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factflow_engine.config.loader import load_snapshot
from factflow_engine.config.models import PipelineGlobalConfig
from factflow_execution.errors import InitTooLargeError, LaunchRefusedError
from factflow_execution.init_payload import init_payload, merged
from factflow_testing.platform import platform_in

ROUTES = 'version: "1.0"\nroutes: {r: {inbound: {queue: q}, adapters: [{type: a}]}}\n'
SMALL = """
version: "1.0"
routes: {r: {inbound: {queue: q}, adapters: [{type: echo}]}}
init_message: {route: r}
"""


def pipeline(init: str = "") -> PipelineGlobalConfig:
    return load_snapshot(ROUTES + init)


@pytest.mark.parametrize(
    ("base", "over", "result"),
    [
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, {"a": 1, "b": 3, "c": 4}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"a": {"x": 1}}, {"a": [1]}, {"a": [1]}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": None}, {"a": None}),
    ],
)
def test_objects_merge_key_by_key_and_all_else_is_replaced(
    base: Any, over: Any, result: Any
) -> None:
    kept = dict(base)
    assert merged(base, over) == result
    assert base == kept


def test_the_payload_is_the_yamls_with_the_callers_over_it() -> None:
    config = pipeline("init_message: {route: r, payload: {url: u, depth: 1}}\n")
    assert init_payload(config, None) == {"url": "u", "depth": 1}
    assert init_payload(config, {"depth": 2}) == {"url": "u", "depth": 2}


def test_without_an_init_message_the_payload_is_empty_and_takes_no_overrides() -> None:
    assert init_payload(pipeline(), None) == {}
    assert init_payload(pipeline(), {}) == {}
    with pytest.raises(LaunchRefusedError, match="no init_message"):
        init_payload(pipeline(), {"url": "u"})


async def test_an_init_payload_over_the_limit_is_refused_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    async with platform_in(tmp_path, max_init_bytes=1024) as platform:
        with pytest.raises(InitTooLargeError, match="the server takes up to 1024") as refused:
            await platform.start(SMALL, {"long": "x" * 1024})
        assert refused.value.code == "init_too_large"
        assert (await platform.executions.list()).total == 0
        assert [item async for item in platform.engine.storage.list("executions/")] == []
        assert (await platform.run(SMALL, {"long": "x" * 900})).status == "completed"
