"""The import contracts hold on the tree, and each of them breaks when it is violated."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / ".importlinter"
LINTER = Path(sys.executable).parent / "lint-imports"

VIOLATIONS = {
    "tiers": ("factflow_foundation/clock.py", "factflow_engine.envelope"),
    "providers": ("factflow_execution/dag.py", "factflow_infra.queue"),
    "adapters": ("factflow_webscraper/page.py", "factflow_foundation.ids"),
    "workflows": ("factflow_markdown/segments.py", "factflow_webscraper.urls"),
    "command": ("factflow_cli/durations.py", "factflow_protocols.errors"),
    "product": ("factflow_server/health.py", "factflow_testing.engine"),
    "clients": ("factflow_testing/platform.py", "factflow_cli.durations"),
}


def packages() -> list[Path]:
    """Every package of the workspace."""
    found = (ROOT / "backend/packages").glob("**/src/factflow_*")
    return sorted(found, key=lambda package: package.name)


def contracts() -> dict[str, str]:
    """The contracts' ids and names, as configured."""
    config = configparser.ConfigParser()
    config.read(CONFIG)
    prefix = "importlinter:contract:"
    return {
        section.removeprefix(prefix): config[section]["name"]
        for section in config.sections()
        if section.startswith(prefix)
    }


def lint(folder: Path, *options: str) -> tuple[int, str]:
    """Run the linter on the packages that lie in `folder`; return its exit code and what it says."""
    done = subprocess.run(
        [LINTER, "--config", CONFIG, "--no-cache", "--no-logo", *options],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All packages side by side, as they are."""
    folder = tmp_path_factory.mktemp("tree")
    for package in packages():
        shutil.copytree(
            package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


def test_every_package_stands_under_the_contracts() -> None:
    """A new package joins `.importlinter`."""
    config = configparser.ConfigParser()
    config.read(CONFIG)
    assert sorted(config["importlinter"]["root_packages"].split()) == [
        package.name for package in packages()
    ]


def test_the_tree_keeps_every_contract(tree: Path) -> None:
    """`make contracts` passes."""
    code, report = lint(tree)
    assert code == 0, report
    assert f"Contracts: {len(contracts())} kept, 0 broken." in report


def test_every_contract_is_shown_to_break() -> None:
    """A new contract joins `VIOLATIONS`."""
    assert sorted(VIOLATIONS) == sorted(contracts())


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_one_wrong_import_breaks_its_contract(contract: str, tree: Path) -> None:
    """One line is enough, and the report names the module that holds it."""
    name, imported = VIOLATIONS[contract]
    module = tree / name
    before = module.read_text()
    module.write_text(f"{before}\nimport {imported}\n")
    try:
        code, report = lint(tree, "--contract", contract)
    finally:
        module.write_text(before)
    assert code == 1, report
    assert f"{contracts()[contract]} BROKEN" in report
    importer = name.removesuffix(".py").replace("/", ".")
    assert re.search(rf"{re.escape(importer)} -> {re.escape(imported)} ", report), report
