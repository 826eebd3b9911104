"""Finding adapters, making them, and noticing that their code has changed on disk."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from factflow_engine.adapter_modules import AdapterLoadError
from factflow_engine.adapter_version import CodeChangedError
from factflow_engine.registry import AdapterRegistry, DuplicateAdapterError

ADAPTER = '''
from factflow_protocols.pipeline import AdapterResult, register_adapter_type

@register_adapter_type("{type}")
class Adapter{suffix}:
    """Does {type} things.

    More than the first line is not shown.
    """

    def __init__(self, config):
        self.config = config

    async def process(self, context):
        return AdapterResult(context.payload)
'''


MARK = "from factflow_protocols.pipeline import register_adapter_type\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with modules that are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text))
    return path


def adapter_source(type_name: str, suffix: str = "") -> str:
    return ADAPTER.format(type=type_name, suffix=suffix)


def install(folder: Path, name: str, entry_points: dict[str, str], version: str = "1.2") -> None:
    """Put a distribution's metadata beside its modules, as an installer does."""
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    lines = [f"{type_name} = {value}" for type_name, value in entry_points.items()]
    write(metadata / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    write(metadata / "entry_points.txt", "\n".join(["[factflow.adapters]", *lines, ""]))
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def test_a_module_in_the_current_directory_is_found_by_name(folder: Path) -> None:
    write(folder / "my_adapters_one.py", adapter_source("one") + adapter_source("two", "2"))
    registry = AdapterRegistry.discover(["my_adapters_one"])
    adapter = registry.get("one")
    assert {"one", "two"} <= set(registry.types())
    assert adapter.description == "Does one things."
    assert (adapter.module, adapter.distribution) == ("my_adapters_one", None)
    assert not adapter.handles_batches
    assert registry.build("one", {}).config is not None


def test_a_file_is_found_by_path_with_the_files_beside_it(folder: Path) -> None:
    write(folder / "far" / "beside_it.py", "WORD = 1\n")
    path = write(folder / "far" / "by_path.py", "import beside_it\n" + adapter_source("by_path"))
    assert "by_path" in AdapterRegistry.discover([str(path)]).types()
    assert "by_path" in AdapterRegistry.discover(["far/by_path.py"]).types()


def test_a_package_may_re_export_its_own_adapters_and_nobody_elses(folder: Path) -> None:
    write(folder / "stranger_mod.py", adapter_source("stranger"))
    write(folder / "my_pack" / "inner.py", adapter_source("inner", "In"))
    write(
        folder / "my_pack" / "__init__.py",
        "from my_pack.inner import AdapterIn\nfrom stranger_mod import Adapter\n",
    )
    types = AdapterRegistry.discover(["my_pack"]).types()
    assert "inner" in types
    assert "stranger" not in types


def test_an_installed_adapter_is_imported_on_first_use(folder: Path) -> None:
    write(folder / "lazy_mod.py", adapter_source("lazy"))
    install(folder, "lazy-pack", {"lazy": "lazy_mod:Adapter"})
    registry = AdapterRegistry.discover()
    assert "lazy" in registry.types()
    assert "lazy_mod" not in sys.modules
    adapter = registry.get("lazy")
    assert adapter.distribution == "lazy-pack"
    source = (folder / "lazy_mod.py").read_bytes()
    assert adapter.version == f"1.2+{hashlib.sha256(source).hexdigest()[:12]}"


def test_one_broken_package_costs_its_own_types_only(folder: Path) -> None:
    write(folder / "good_mod.py", adapter_source("good"))
    write(folder / "bad_mod.py", "import math\n\nmath.sqrt(-1)\n")
    install(folder, "mixed", {"good": "good_mod:Adapter", "bad": "bad_mod:Adapter"})
    registry = AdapterRegistry.discover()
    adapters, failures = registry.all()
    assert "good" in [adapter.type for adapter in adapters]
    assert list(failures) == ["bad"]
    assert f"ValueError: math domain error ({folder}/bad_mod.py, line 3)" in failures["bad"].message
    with pytest.raises(AdapterLoadError, match="math domain error"):
        registry.get("bad")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("x = (\n", "SyntaxError: '(' was never closed ({folder}/broken_mod.py, line 1)"),
        ("import not_there_at_all\n", "No module named 'not_there_at_all' ({folder}/broken_mod.py"),
        (
            "def f():\n    raise KeyError('k')\nf()\n",
            "KeyError: 'k' ({folder}/broken_mod.py, line 2)",
        ),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3 ({folder}/broken_mod.py, line 2)"),
        ("x = 1\n", "module 'broken_mod' holds no adapter"),
        (
            MARK + "@register_adapter_type('nothing')\nclass Nothing: pass\n",
            "it has neither `process` nor `process_batch`",
        ),
        (
            MARK + "@register_adapter_type('a/b')\nclass Odd:\n    def process(self, c): pass\n",
            "'a/b' is not a name",
        ),
        (
            MARK
            + "@register_adapter_type('odd', config=dict)\nclass Odd:\n    def process(self, c): pass\n",
            "its config is not a pydantic model class",
        ),
    ],
)
def test_a_module_that_cannot_be_used_says_why_in_a_sentence(
    source: str, told: str, folder: Path
) -> None:
    write(folder / "broken_mod.py", source)
    with pytest.raises(AdapterLoadError) as caught:
        AdapterRegistry.discover(["broken_mod"])
    assert told.format(folder=folder) in caught.value.message
    assert "Traceback" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no_such_module", "there is no module 'no_such_module'"),
        ("no_such_package.inner", "there is no module 'no_such_package.inner'"),
        ("no/such/file.py", "there is no file no/such/file.py"),
        ("json.py", "that name belongs to"),
        ("two words.py", "cannot be imported under the name"),
        ("", "''"),
        ("..relative", "'..relative'"),
    ],
)
def test_a_module_that_is_not_there_says_so(name: str, told: str, folder: Path) -> None:
    for odd in ("json.py", "two words.py"):
        write(folder / odd, adapter_source("odd"))
    with pytest.raises(AdapterLoadError) as caught:
        AdapterRegistry.discover([name])
    assert told in caught.value.message


def test_two_adapters_of_one_name_are_both_named(folder: Path) -> None:
    write(folder / "first_mod.py", adapter_source("same"))
    write(folder / "second_mod.py", adapter_source("same"))
    with pytest.raises(DuplicateAdapterError) as caught:
        AdapterRegistry.discover(["first_mod", "second_mod"])
    assert "first_mod:Adapter" in caught.value.message
    assert "second_mod:Adapter" in caught.value.message


def test_two_distributions_with_one_type_are_both_named(folder: Path) -> None:
    install(folder, "pack-one", {"same": "one_mod:Adapter"})
    install(folder, "pack-two", {"same": "two_mod:Adapter"})
    with pytest.raises(DuplicateAdapterError) as caught:
        AdapterRegistry.discover()
    assert "pack-one" in caught.value.message
    assert "pack-two" in caught.value.message


def test_a_named_module_may_hold_what_is_installed_too(folder: Path) -> None:
    """Naming an installed module is no conflict; naming a rival of it is one."""
    write(folder / "both_mod.py", adapter_source("both"))
    write(folder / "rival_mod.py", adapter_source("both"))
    install(folder, "both-pack", {"both": "both_mod:Adapter"})
    assert AdapterRegistry.discover(["both_mod"]).get("both").module == "both_mod"
    with pytest.raises(DuplicateAdapterError):
        AdapterRegistry.discover(["rival_mod"])


@pytest.mark.parametrize(
    ("value", "told"),
    [("odd_mod:Nothing", "has no 'Nothing'"), ("odd_mod:WORD", "is not marked as an adapter"),
     ("odd_mod:Adapter", "is called 'misnamed', the class 'right'")],
)  # fmt: skip
def test_a_wrong_entry_point_is_told(value: str, told: str, folder: Path) -> None:
    write(folder / "odd_mod.py", "WORD = 'x'\n" + adapter_source("right"))
    install(folder, "odd-pack", {"misnamed": value})
    with pytest.raises(AdapterLoadError) as caught:
        AdapterRegistry.discover().get("misnamed")
    assert told in caught.value.message


def changed_after(folder: Path, edit: str, registry: AdapterRegistry, type_name: str) -> bool:
    """Edit a file and tell whether the adapter counts as changed; put the file back."""
    path = folder / edit
    before = path.read_bytes()
    path.write_bytes(before + b"# edited\n")
    try:
        return registry.get(type_name).changed_on_disk()
    finally:
        path.write_bytes(before)


def test_an_edit_of_the_module_or_of_what_it_imports_from_its_package_is_a_change(
    folder: Path,
) -> None:
    write(folder / "deep" / "__init__.py", "")
    write(
        folder / "deep" / "words.py",
        "match 1:\n    case 1:\n        from . import letters\nWORD = 1\n",
    )
    write(folder / "deep" / "letters.py", "LETTER = 'a'\n")
    write(folder / "deep" / "late.py", "LATE = 1\n")
    write(folder / "deep" / "unrelated.py", "OTHER = 1\n")
    write(folder / "outside_mod.py", "X = 1\n")
    write(
        folder / "deep" / "adapters.py",
        "import outside_mod\nfrom deep.words import WORD\n"
        "def later():\n    try:\n        from .missing import LATE\n    except ImportError:\n"
        "        from .late import LATE\n" + adapter_source("deep"),
    )
    registry = AdapterRegistry.discover(["deep.adapters"])
    version = registry.get("deep").version
    edits = {
        edit: changed_after(folder, edit, registry, "deep")
        for edit in (
            "deep/adapters.py",
            "deep/words.py",
            "deep/letters.py",
            "deep/late.py",
            "deep/unrelated.py",
            "outside_mod.py",
        )
    }
    assert edits == {
        "deep/adapters.py": True,
        "deep/words.py": True,
        "deep/letters.py": True,
        "deep/late.py": True,
        "deep/unrelated.py": False,
        "outside_mod.py": False,
    }
    assert registry.changed(["deep", "deep"]) == []
    assert registry.get("deep").version == version


def test_a_single_file_counts_the_files_beside_it_that_it_imports(folder: Path) -> None:
    write(folder / "helper_mod.py", "import json\nX = 1\n")
    write(folder / "single_mod.py", "import helper_mod\n" + adapter_source("single"))
    registry = AdapterRegistry.discover(["single_mod"])
    assert not registry.get("single").changed_on_disk()
    assert changed_after(folder, "helper_mod.py", registry, "single")


def test_a_package_counts_what_its_init_imports(folder: Path) -> None:
    write(folder / "whole" / "words.py", "WORD = 1\n")
    write(folder / "whole" / "__init__.py", "from .words import WORD\n" + adapter_source("whole"))
    registry = AdapterRegistry.discover(["whole"])
    assert changed_after(folder, "whole/words.py", registry, "whole")


def test_a_second_registry_in_the_process_knows_what_was_loaded(folder: Path) -> None:
    """The module stays as imported first, so an edit since then is a change for everyone."""
    path = write(folder / "twice_mod.py", adapter_source("twice"))
    first = AdapterRegistry.discover(["twice_mod"]).get("twice")
    path.write_text(path.read_text() + "# edited\n")
    second = AdapterRegistry.discover(["twice_mod"]).get("twice")
    assert second.version == first.version
    assert second.changed_on_disk()


def test_a_deleted_file_is_a_change_and_the_error_names_it(folder: Path) -> None:
    path = write(folder / "gone_mod.py", adapter_source("gone"))
    registry = AdapterRegistry.discover(["gone_mod"])
    path.unlink()
    changed = registry.changed(["gone"])
    error = CodeChangedError(changed)
    assert [adapter.type for adapter in changed] == ["gone"]
    assert str(path) in error.message
    assert error.code == "code_changed"
    assert "--loaded-code" in error.hint
    assert "restart the server" in error.hint


def test_a_restart_gives_the_new_version(folder: Path) -> None:
    path = write(folder / "again_mod.py", adapter_source("again"))
    before = AdapterRegistry.discover(["again_mod"]).get("again").version
    path.write_text(path.read_text() + "# edited\n")
    del sys.modules["again_mod"]
    after = AdapterRegistry.discover(["again_mod"]).get("again")
    assert after.version != before
    assert not after.changed_on_disk()
