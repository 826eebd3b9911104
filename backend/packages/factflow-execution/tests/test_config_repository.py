from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_execution.config_repository import ConfigRepository
from factflow_execution.models import PipelineConfig


def config(number: int = 1, **changes: object) -> PipelineConfig:
    first = PipelineConfig(
        id=f"config-{number}",
        name=f"pipeline {number}",
        description=None,
        source_type="api",
        source_path=None,
        config_yaml="routes: {}\n",
        config_hash="1" * 64,
        version=1,
        created_at=1000.0 + number,
        updated_at=1000.0 + number,
        is_active=True,
    )
    return replace(first, **changes)  # type: ignore[arg-type]  # the fields are this module's own


@pytest.fixture
def repository(engine: AsyncEngine) -> ConfigRepository:
    return ConfigRepository(engine)


async def test_what_was_stored_is_read_back(repository: ConfigRepository) -> None:
    await repository.insert(config(description="what it is for", source_path="a.yaml"))
    assert await repository.get("config-1") == config(
        description="what it is for", source_path="a.yaml"
    )
    assert await repository.get("config-2") is None


async def test_a_new_version_is_the_one_that_is_read_and_the_old_one_is_kept(
    repository: ConfigRepository,
) -> None:
    await repository.insert(config())
    edited = config(version=2, name="renamed", config_yaml="routes: []\n", config_hash="2" * 64)
    assert await repository.save_version(edited)
    assert await repository.get("config-1") == edited
    versions = await repository.versions("config-1")
    assert [(one.version, one.name, one.config_yaml) for one in versions] == [
        (1, "pipeline 1", "routes: {}\n"),
        (2, "renamed", "routes: []\n"),
    ]


async def test_of_two_edits_of_one_version_the_second_changes_nothing(
    repository: ConfigRepository,
) -> None:
    await repository.insert(config())
    assert await repository.save_version(config(version=2, name="first"))
    assert not await repository.save_version(config(version=2, name="second"))
    stored = await repository.get("config-1")
    assert stored is not None
    assert stored.name == "first"
    assert len(await repository.versions("config-1")) == 2


async def test_listing_pages_from_the_newest_and_counts_all(repository: ConfigRepository) -> None:
    for number in range(1, 6):
        await repository.insert(config(number))
    page = await repository.list("true", 2, 2)
    assert [row.id for row in page.rows] == ["config-3", "config-2"]
    assert (page.total, page.has_more) == (5, True)
    last = await repository.list("true", 2, 4)
    assert ([row.id for row in last.rows], last.has_more) == (["config-1"], False)


async def test_a_deactivated_config_is_hidden_from_the_active_ones_only(
    repository: ConfigRepository,
) -> None:
    await repository.insert(config(1))
    await repository.insert(config(2))
    assert await repository.deactivate("config-1", 2000.0)
    assert not await repository.deactivate("config-9", 2000.0)
    assert [row.id for row in (await repository.list("true", 10, 0)).rows] == ["config-2"]
    assert [row.id for row in (await repository.list("false", 10, 0)).rows] == ["config-1"]
    assert (await repository.list("all", 10, 0)).total == 2
    found = await repository.get("config-1")
    assert found is not None
    assert not found.is_active
