from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_engine.config.loader import PipelineConfigLoader
from factflow_engine.registry import AdapterRegistry
from factflow_execution.config_repository import ConfigRepository
from factflow_execution.config_service import ConfigService, ConfigUnreadableError
from factflow_execution.errors import ConfigInactiveError, ConfigNotFoundError
from factflow_protocols.pipeline import AdapterResult, PipelineContext, register_adapter_type


@register_adapter_type("shout")
class ShoutAdapter:
    """Says it louder."""

    def __init__(self, config: object) -> None:
        self.config = config

    async def process(self, context: PipelineContext) -> AdapterResult | None:
        return AdapterResult(str(context.payload).upper())


VALID = """\
version: "1.0"
name: loud
routes:
  speech:
    inbound: {queue: words}
    adapters: [{type: shout}]
init_message: {route: speech, payload: {text: hello}}
"""
INVALID = VALID.replace("type: shout", "type: whisper")


class MovingClock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> float:
        self.seconds += 1
        return self.seconds


@pytest.fixture
def service(engine: AsyncEngine) -> ConfigService:
    registry = AdapterRegistry()
    registry.register(ShoutAdapter)
    return ConfigService(ConfigRepository(engine), PipelineConfigLoader(registry), MovingClock())


async def test_a_valid_config_is_stored_under_its_own_name(service: ConfigService) -> None:
    stored = await service.create(VALID, description="to be heard")
    assert stored.report.is_valid
    assert (stored.config.name, stored.config.version) == ("loud", 1)
    assert (await service.get(stored.config.id)).config == stored.config


async def test_a_name_that_is_given_wins_and_a_missing_one_is_pipeline(
    service: ConfigService,
) -> None:
    assert (await service.create(VALID, name="mine")).config.name == "mine"
    nameless = VALID.replace("name: loud\n", "")
    assert (await service.create(nameless)).config.name == "pipeline"


async def test_an_invalid_config_is_stored_with_what_is_wrong(service: ConfigService) -> None:
    stored = await service.create(INVALID)
    assert not stored.report.is_valid
    assert stored.config.name == "loud"
    again = await service.get(stored.config.id)
    assert [issue.code for issue in again.report.errors] == ["E103"]


async def test_yaml_that_does_not_parse_is_not_stored(service: ConfigService) -> None:
    with pytest.raises(ConfigUnreadableError) as refused:
        await service.create("routes: [")
    assert refused.value.report.issues
    assert (await service.list("all")).total == 0


async def test_an_edit_makes_a_new_version_with_a_new_hash(service: ConfigService) -> None:
    first = await service.create(VALID, description="kept")
    second = await service.update(first.config.id, INVALID)
    assert second.config.version == 2
    assert second.config.config_hash != first.config.config_hash
    assert second.config.description == "kept"
    assert second.config.created_at == first.config.created_at
    assert second.config.updated_at > first.config.updated_at
    assert not (await service.get(first.config.id)).report.is_valid


async def test_a_draft_holds_the_text_as_it_was_when_it_was_drawn(service: ConfigService) -> None:
    stored = await service.create(VALID)
    draft = await service.draft(stored.config.id, init={"text": "bye"}, tag="t")
    await service.update(stored.config.id, INVALID)
    assert draft.config_snapshot == VALID
    assert (draft.config_version, draft.init, draft.tag) == (1, {"text": "bye"}, "t")


async def test_a_deactivated_config_is_kept_but_starts_nothing(service: ConfigService) -> None:
    stored = await service.create(VALID)
    await service.deactivate(stored.config.id)
    assert (await service.list("true")).total == 0
    assert not (await service.get(stored.config.id)).config.is_active
    with pytest.raises(ConfigInactiveError):
        await service.draft(stored.config.id)


async def test_an_unknown_config_is_an_error_everywhere(service: ConfigService) -> None:
    with pytest.raises(ConfigNotFoundError):
        await service.get("nobody")
    with pytest.raises(ConfigNotFoundError):
        await service.update("nobody", VALID)
    with pytest.raises(ConfigNotFoundError):
        await service.draft("nobody")
    with pytest.raises(ConfigNotFoundError):
        await service.deactivate("nobody")
