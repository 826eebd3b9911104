"""Rules of the house that no linter knows."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = sorted(path.parent for path in (ROOT / "backend/packages").glob("**/pyproject.toml"))
LONGEST = 400
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "misc", "shared", "core"}


def tracked(*patterns: str) -> list[Path]:
    """Files of the repository, new ones included, ignored ones not."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    assert paths, f"no file matches {patterns}"
    return [path for path in paths if path.is_file()]


def found(pattern: str, paths: list[Path]) -> list[str]:
    """Lines that match, as `path:line: text`."""
    wanted = re.compile(pattern)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if wanted.search(line)
    ]


def pyproject(folder: Path) -> dict[str, object]:
    """A folder's pyproject."""
    return tomllib.loads((folder / "pyproject.toml").read_text())


def test_no_module_is_too_long_to_read_in_one_go() -> None:
    """At most 400 lines."""
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked("*.py")
        if (lines := len(path.read_text().splitlines())) > LONGEST
    }
    assert long == {}


def test_every_module_is_named_after_what_it_holds() -> None:
    """A module called `utils` holds anything."""
    assert [path for path in tracked("*.py") if path.stem.lstrip("_") in VAGUE] == []


def test_tests_wait_for_states_not_for_time() -> None:
    """A sleep is either too short or too long; `sleep(0)` only lets others run."""
    tests = [path for path in tracked("*.py") if "tests" in path.relative_to(ROOT).parts]
    assert found(r"\b(time|asyncio|anyio)\.sleep\((?!0\))", tests) == []


def test_nothing_is_left_for_later_in_the_code() -> None:
    """What is missing stands in the changelog, not in a comment."""
    marks = "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3))
    assert found(rf"\b({marks})\b", tracked("*.py", "*.yaml", "*.toml", "Makefile", ".ci")) == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_every_package_says_what_it_is_and_is_typed(package: Path) -> None:
    """A README of more than its title, and the marker that lets others check types against it."""
    readme = (package / "README.md").read_text()
    assert readme.startswith(f"# {package.name}\n")
    assert len(readme.splitlines()) >= 8, "the README is a stub"
    assert len(list(package.glob("src/*/py.typed"))) == 1


def test_versions_agree_with_the_changelog() -> None:
    """Every package has the version of the changelog's newest section."""
    newest = re.search(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    versions = {
        folder.name: project["version"]
        for folder in [ROOT, *PACKAGES]
        if isinstance(project := pyproject(folder)["project"], dict)
    }
    assert set(versions.values()) == {newest[1]}, versions


def test_every_dependency_is_pinned() -> None:
    """A package that a pyproject asks for has its exact version in the root's constraints."""

    def name(requirement: str) -> str:
        match = re.match(r"[\w.-]+", requirement)
        assert match is not None
        return re.sub(r"[-_.]+", "-", match[0]).lower()

    asked: set[str] = set()
    for folder in [ROOT, *PACKAGES]:
        table = pyproject(folder)
        project, groups = table["project"], table.get("dependency-groups", {})
        assert isinstance(project, dict)
        assert isinstance(groups, dict)
        for requirements in [project["dependencies"], *groups.values()]:
            asked |= {name(requirement) for requirement in requirements}
    uv = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    assert all("==" in pin for pin in uv["constraint-dependencies"])
    pinned = {name(pin) for pin in uv["constraint-dependencies"]}
    assert asked - pinned - {package.name for package in PACKAGES} == set()


def test_no_lock_file_and_no_package_index_is_tracked() -> None:
    """Whoever installs this names their own index."""
    files = tracked()
    assert [path for path in files if re.fullmatch(r".*\.lock|pylock.*\.toml", path.name)] == []
    hosts = "|".join(
        ("py" + r"pi\.org", "python" + r"hosted\.org", r"/sim" + "ple/", "index-" + "url")
    )
    assert found(hosts, files) == []
