from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from factflow_server import commands
from factflow_server.settings import ServerSettings, ServerStartError


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


def told(*arguments: str) -> ServerSettings:
    """The settings of `serve` with these arguments, in the working directory."""
    return commands._settings(commands._parser().parse_args(["serve", *arguments]))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("FACTFLOW_SETTINGS", "FACTFLOW_PORT", "FACTFLOW_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "factflow.toml").write_text('port = 9001\nadapters = ["mine", "yours"]\n')
    assert told().port == 9001
    assert told().adapters == ("mine", "yours")
    monkeypatch.setenv("FACTFLOW_PORT", "9002")
    assert told().port == 9002
    assert told("--port", "9003").port == 9003
    (folder / "other.toml").write_text("max_concurrent_executions = 7\n")
    monkeypatch.setenv("FACTFLOW_SETTINGS", "other.toml")
    assert (told().max_concurrent_executions, told().adapters) == (7, ())
    assert told("--settings", "factflow.toml").adapters == ("mine", "yours")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# mine\nprot = 1\n", "factflow.toml line 2: 'prot' is no setting; did you mean 'port'?"),
        ("[server]\nport = 1\n", "factflow.toml line 1: 'server' is no setting"),
        ("\nport = 99999\n", "factflow.toml line 2: port: "),
        ("port = here\n", "factflow.toml is not TOML"),
        (
            '\n\ndatabase_url = "postgresql://me:s3/cret@db/facts"\n',
            "factflow.toml line 3: database_url: its host or port cannot be read",
        ),
    ],
)
def test_what_is_wrong_in_the_file_is_told_with_its_place(
    folder: Path, text: str, said: str
) -> None:
    (folder / "factflow.toml").write_text(text)
    with pytest.raises(ServerStartError) as raised:
        told()
    assert said in raised.value.message
    assert "cret" not in f"{raised.value}{raised.value.hint}{raised.value.__cause__}"


def test_a_file_that_was_named_has_to_be_there(folder: Path) -> None:
    with pytest.raises(ServerStartError, match=r"nowhere\.toml"):
        told("--settings", "nowhere.toml")


def test_a_database_url_is_never_shown_with_its_password(folder: Path) -> None:
    settings = told("--database-url", "postgresql://me:s3cret@db/facts?sslpassword=s3cret")
    assert settings.shown_database_url == "postgresql://me@db/facts"
    assert "s3cret" not in f"{settings!r}{settings.model_dump()}{settings.model_dump_json()}"


def test_a_private_server_is_on_loopback_without_tokens(folder: Path) -> None:
    """Whoever starts one for a single command knows no token of the settings."""
    (folder / "factflow.toml").write_text(
        'host = "0.0.0.0"\napi_tokens = "eve:read:0123456789abcdef"\nmax_concurrent_executions = 7\n'
    )
    assert told().tokens
    private = told("--private")
    assert (private.host, bool(private.tokens)) == ("127.0.0.1", False)
    assert private.max_concurrent_executions == 7
