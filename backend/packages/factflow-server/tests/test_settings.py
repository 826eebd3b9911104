from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from factflow_server.settings import ServerSettings


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTFLOW_DATA_DIR", "/srv/facts")
    monkeypatch.setenv("FACTFLOW_ADAPTERS", "mine, theirs/adapters.py")
    monkeypatch.setenv("FACTFLOW_CONFIG_VALIDATOR_STRICT", "0")
    settings = ServerSettings()
    assert settings.data_dir == Path("/srv/facts")
    assert settings.adapters == ("mine", "theirs/adapters.py")
    assert not settings.config_validator_strict


def test_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTFLOW_PORT", "9000")
    assert ServerSettings().port == 9000
    assert ServerSettings(port=0).port == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "65536"), ("DURABILITY", "perhaps"), ("MAX_CONCURRENT_EXECUTIONS", "0")],
)
def test_a_setting_that_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"FACTFLOW_{name}", value)
    with pytest.raises(ValidationError):
        ServerSettings()
