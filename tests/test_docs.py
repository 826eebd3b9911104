"""The pages say all there is, and nothing that is not: settings, codes, endpoints, commands, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from factflow_cli.app import app as program
from factflow_cli.exit_codes import ExitCode
from factflow_engine.config.loader import PipelineConfigLoader
from factflow_engine.registry import AdapterRegistry, RegisteredAdapter
from factflow_execution.why.causes import CODES
from factflow_server.app import PREFIX, create_app
from factflow_server.container import open_container
from factflow_server.settings import ServerSettings

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted(
    [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("backend/packages/**/README.md")]
)
EXAMPLES = [
    (page, text)
    for page in PAGES
    for text in re.findall(
        r"^```yaml\n(version:.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL
    )
    if page.stem != "writing-an-adapter"  # has an adapter of its own, and a test
]
SHOWN = re.compile(r"^\s*(?:\$ )?(factflow [^#\n\\]*(?:\\\n[^#\n\\]*)*)", re.MULTILINE)
BLOCK = re.compile(r"^```(?:console|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")

registry = AdapterRegistry.discover()
SHIPPED = [adapter for adapter in registry.all()[0] if adapter.distribution]


def page_id(value: object) -> str | None:
    """Name a page by its path."""
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else None


@cache
def sections(page: Path) -> dict[str, str]:
    """A page's second-level sections, by title."""
    parts = re.split(r"^## (.+)$", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def shown_default(value: Any) -> str:
    """How a default is written in a table."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ", ".join(value) or "empty"
    return f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("adapter", SHIPPED, ids=lambda adapter: adapter.type)
def test_every_adapter_is_listed_with_its_settings(adapter: RegisteredAdapter) -> None:
    """Each has its section; each setting a row with its default, and no row is left of a removed one."""
    pages = sections(REFERENCE / "adapters.md")
    text = pages[adapter.type]
    for title, shared in pages.items():
        if f"#{title.lower().replace(':', '').replace(' ', '-')})" in pages[adapter.type]:
            text += shared
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*?) \|", text, re.MULTILINE))
    fields = adapter.config_model.model_fields
    assert rows == {
        name: shown_default(field.get_default(call_default_factory=True))
        for name, field in fields.items()
    }


def test_every_adapter_that_is_listed_is_shipped() -> None:
    """A page may not promise an adapter that was renamed."""
    listed = re.findall(r"^## (\w+_\w+)$", (REFERENCE / "adapters.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(adapter.type for adapter in SHIPPED)


def test_every_validation_code_is_explained() -> None:
    """The codes in the engine's source are those of the page."""
    source = (ROOT / "backend/packages/factflow-engine/src").rglob("*.py")
    emitted = {code for path in source for code in re.findall(r'"([EW]\d{3})"', path.read_text())}
    page = (REFERENCE / "validation-codes.md").read_text()
    assert set(re.findall(r"^\| `([EW]\d{3})`", page, re.MULTILINE)) == emitted


def test_every_cause_is_explained() -> None:
    """The codes that `why` can give are those of the page."""
    page = sections(DOCS / "guides/why.md")["Causes"]
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == sorted(CODES)


async def test_every_endpoint_is_on_the_map(tmp_path: Path) -> None:
    """The OpenAPI document and the page name the same methods and paths."""
    async with open_container(ServerSettings(data_dir=tmp_path)) as container:
        paths = create_app(container).openapi()["paths"]
    served = {
        f"{method.upper()} {path.removeprefix(PREFIX)}"
        for path, methods in paths.items()
        for method in methods
    }
    rows = sections(REFERENCE / "http-api.md")["Endpoints"]
    listed = re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`]*)`", rows)
    assert sorted(without_names(listed)) == sorted(without_names(served))


def without_names(endpoints: Any) -> set[str]:
    """The endpoints with every parameter nameless: `{}`."""
    return {re.sub(r"\{[^}]*\}", "{}", endpoint) for endpoint in endpoints}


def test_every_exit_code_is_explained() -> None:
    """Scripts may rely on these too."""
    page = (REFERENCE / "exit-codes.md").read_text()
    explained = {int(code) for code in re.findall(r"^\| `(\d+)`", page, re.MULTILINE)}
    assert explained == {int(code) for code in ExitCode}


def test_every_command_is_in_the_table_of_commands() -> None:
    """The command line's README lists each group with its commands."""
    readme = (ROOT / "backend/packages/factflow-cli/README.md").read_text()
    table = {
        name: row.split("|")[0].split()
        for name, row in re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", readme, re.MULTILINE)
    }
    groups = {
        name: list(command.commands)
        for name, command in commands().items()
        if hasattr(command, "commands")
    }
    assert table == groups
    assert all(f"`{name}`" in readme for name in commands())


@cache
def whole_program() -> Any:
    """The program's tree, which takes its time to build."""
    return typer.main.get_command(program)


def commands() -> dict[str, Any]:
    """The program's commands and groups, by name."""
    found: dict[str, Any] = getattr(whole_program(), "commands", {})
    assert found
    return found


def shown_commands() -> Iterator[tuple[str, str]]:
    """Yield every `factflow …` line of every page, with the page's name."""
    for page in PAGES:
        for block in BLOCK.findall(page.read_text()):
            for line in SHOWN.findall(block):
                yield str(page.relative_to(ROOT)), " ".join(line.replace("\\\n", " ").split())


@pytest.mark.parametrize(("page", "line"), list(shown_commands()))
def test_every_command_shown_can_be_typed(page: str, line: str) -> None:
    """Its group, its name and each of its options exist."""
    words = shlex.split(re.split(r" (?:[|><&]|&&) ?| \|$", line)[0])[1:]
    top = whole_program()
    command: Any = top
    options = {option for parameter in top.params for option in parameter.opts}
    for word in words:
        known = getattr(command, "commands", {})
        if word in known:
            command = known[word]
            options |= {
                option
                for parameter in command.params
                for option in (*parameter.opts, *parameter.secondary_opts)
            }
        elif not known:
            break
    assert not getattr(command, "commands", {}) or "-" in words[0], f"{page}: no command in {line}"
    assert {word for word in words if word.startswith("-")} - {"-"} <= options, f"{page}: {line}"


@pytest.mark.parametrize(("page", "text"), EXAMPLES, ids=page_id)
def test_every_whole_pipeline_shown_is_valid(page: Path, text: str) -> None:
    """A pipeline that is copied from a page runs."""
    report = PipelineConfigLoader(registry).validate(text, str(page)).report
    assert [issue for issue in report.issues if issue.severity == "error"] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Files exist, and their headings do."""
    for link in LINK.findall(page.read_text()):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in anchors, link


def test_every_page_can_be_found() -> None:
    """The index leads to each page below `docs`."""
    index = DOCS / "index.md"
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in LINK.findall(index.read_text())}
    assert {page for page in DOCS.rglob("*.md") if page not in linked} == {index}
