"""The token: from the environment or a file, to the server that was named, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from factflow_cli.access_token import access_token
from factflow_cli.api import Api
from factflow_cli.errors import CliError
from factflow_cli.session import Session

TOKEN = "operator-token-0123"


def sent(session: Session) -> str | None:
    """The header that goes with a request to the session's server."""
    try:
        return session.api._client.headers.get("authorization")
    finally:
        session.close()


def test_a_file_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACTFLOW_API_TOKEN", raising=False)
    assert sent(Session()) is None
    monkeypatch.setenv("FACTFLOW_API_TOKEN", TOKEN)
    assert sent(Session()) == f"Bearer {TOKEN}"
    file = tmp_path / "token"
    file.write_text("from-a-file-4567\n")
    assert sent(Session(token_file=str(file))) == "Bearer from-a-file-4567"


def test_a_private_server_is_asked_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTFLOW_API_TOKEN", TOKEN)
    session = Session()
    session.open_api("http://127.0.0.1:1")
    assert sent(session) is None


def test_it_does_not_follow_to_where_a_server_points() -> None:
    api = Api("http://127.0.0.1:1", token=TOKEN)
    try:
        assert not api._client.follow_redirects
    finally:
        api.close()


@pytest.mark.parametrize("content", ["two words", "", "no\u00ebl"])
def test_what_is_no_token_is_refused_without_being_told(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(CliError) as refused:
        access_token(str(file))
    assert not content or content not in refused.value.message + refused.value.hint


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="FileNotFoundError"):
        access_token(str(tmp_path / "nothing"))
