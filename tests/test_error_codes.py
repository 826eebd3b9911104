"""The page of error codes has every code that there is, with the status it is answered with, and no other."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

from factflow_protocols.errors import FactflowError
from factflow_server.errors import FRAMEWORK_CODES, STATUS

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "backend" / "packages"
PAGE = ROOT / "docs" / "reference" / "error-codes.md"
REFUSALS = re.compile(r"(?:_refuse|answer)\(\s*(\d{3}),\s*\"(\w+)\"")
FOUND_IN_TESTS = "factflow_testing"


def classes(base: type[FactflowError]) -> Iterator[type[FactflowError]]:
    """The class and all below it."""
    yield base
    for below in base.__subclasses__():
        yield from classes(below)


def import_all() -> None:
    """Import every module of every package that is shipped."""
    for source in [*PACKAGES.glob("*/src/*"), *PACKAGES.glob("workflows/*/src/*")]:
        if not (source / "__init__.py").exists() or source.name == FOUND_IN_TESTS:
            continue
        package = importlib.import_module(source.name)
        for module in pkgutil.walk_packages(package.__path__, f"{source.name}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def raised() -> dict[str, str]:
    """Every code with what its class says of itself."""
    import_all()
    return {
        error.code: (error.__doc__ or "").partition("\n")[0]
        for error in classes(FactflowError)
        if error.__module__.startswith("factflow_") and FOUND_IN_TESTS not in error.__module__
    }


def answered() -> dict[str, int]:
    """Every code that the API answers with, and its status."""
    server = (PACKAGES / "factflow-server/src").rglob("*.py")
    refused = {
        code: int(status)
        for path in server
        for status, code in REFUSALS.findall(path.read_text())
        if int(status) != 400
    }
    return {**refused, **{code: status for status, code in FRAMEWORK_CODES.items()}, **STATUS}


def listed() -> dict[str, str]:
    """The page's codes, each with the cell after it."""
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]*?) \|", PAGE.read_text(), re.MULTILINE))


def test_every_code_is_on_the_page_and_every_code_on_the_page_exists() -> None:
    """Scripts rely on codes; a code that is missing is told as the line to add."""
    codes, statuses, page = raised(), answered(), listed()
    lines = [
        f"| `{code}` | {statuses[code]} | {codes.get(code, '…')} | what to do |"
        if code in statuses
        else f"| `{code}` | {codes[code]} | what to do |"
        for code in sorted({*codes, *statuses} - set(page))
    ]
    assert not lines, f"add to {PAGE.relative_to(ROOT)}:\n" + "\n".join(lines)
    gone = sorted(set(page) - set(codes) - set(statuses))
    assert not gone, f"no error has these codes any more; take them from the page: {gone}"


def test_every_code_of_the_api_has_its_status_on_the_page() -> None:
    """The status of a code is as stable as the code."""
    page = listed()
    wrong = {
        code: status
        for code, status in answered().items()
        if not re.search(rf"\b{status}\b", page.get(code, ""))
    }
    assert not wrong, f"the page has other statuses for {wrong}"
