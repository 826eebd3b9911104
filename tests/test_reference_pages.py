"""The pages of commands and endpoints say what the program and the server say of themselves today."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

GENERATOR = Path(__file__).resolve().parent.parent / "docs" / "generator"
PAGES = ("cli.md", "http-endpoints.md")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """The script of `make docs`, loaded from where it stands."""
    spec = importlib.util.spec_from_file_location("docs_generator", GENERATOR / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(generator: ModuleType) -> dict[str, str]:
    """The pages as they would be written now."""
    return {path.name: text for path, text in generator.pages().items()}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_would_be_written_now(name: str, made: dict[str, str]) -> None:
    page = GENERATOR.parent / "reference" / name
    assert page.read_text() == made[name], f"{name} is not of today: run make docs"


def test_no_other_page_is_made(made: dict[str, str]) -> None:
    assert tuple(made) == PAGES


@pytest.mark.long
def test_a_page_is_the_same_whoever_makes_it(
    generator: ModuleType, made: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the terminal's width nor the environment shows in it."""
    for name, value in {"COLUMNS": "40", "FACTFLOW_SERVER_URL": "http://else.example"}.items():
        monkeypatch.setenv(name, value)
    assert {path.name: text for path, text in generator.pages().items()} == made
