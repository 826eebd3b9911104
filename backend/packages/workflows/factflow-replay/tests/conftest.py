"""A platform in an empty folder, and what its executions put out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from factflow_testing.platform import Platform, platform_in


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with platform_in(tmp_path) as opened:
        yield opened


@pytest.fixture
def numbers(platform: Platform) -> Callable[[str, str, str], Awaitable[list[Any]]]:
    """The numbers that a stage of an execution stored, sorted."""

    async def read(execution: str, route: str, stage: str) -> list[Any]:
        return sorted(o["n"] for o in await platform.engine.outputs(execution, route, stage))

    return read
