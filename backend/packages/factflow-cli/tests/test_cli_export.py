"""`storage export` unpacks an archive into a folder, goes on where it broke off, and stays inside."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from factflow_cli.errors import CliError
from factflow_cli.plain_files import SUMMARY, PlainFiles, Unpacked

OBJECTS = {
    "executions/e1/_init.json": b"{}",
    "executions/e1/a/b/" + "m" * 150 + ".html": b"<p>" * 40_000,
    "executions/e1/a/b/empty": b"",
    "notes/🦊 and\u00adso on": b"x",
}
RECORDS = {"executions/e1/a/b/m.meta.json": b'{"n":1}'}


def archive(
    members: dict[str, bytes], *, kind: bytes = tarfile.REGTYPE, counts: bool = True
) -> bytes:
    """A server's archive with these members."""
    file = io.BytesIO()
    records = sum(name.endswith(".meta.json") for name in members)
    summary = {
        "objects": len(members) - records,
        "records": records,
        "left_out_count": 0,
        "left_out": [],
    }
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in {
            **members,
            **({SUMMARY: json.dumps(summary).encode()} if counts else {}),
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(data) if kind == tarfile.REGTYPE or name == SUMMARY else 0
            info.type = tarfile.REGTYPE if name == SUMMARY else kind
            info.linkname = "/etc/passwd"
            info.mtime = 1_000_000_000
            tar.addfile(info, io.BytesIO(data) if info.size else None)
    return file.getvalue()


def pieces(data: bytes, size: int = 1000) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def unpack(folder: Path, data: bytes) -> Unpacked:
    return PlainFiles(folder).unpack(pieces(data), lambda _: None)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_members_become_files(tmp_path: Path) -> None:
    done = unpack(tmp_path / "new" / "out", archive(OBJECTS | RECORDS))
    assert files_in(tmp_path / "new" / "out") == OBJECTS | RECORDS
    assert (done.objects, done.records, done.written, done.present) == (4, 1, 5, 0)
    assert (tmp_path / "new/out/executions/e1/_init.json").stat().st_mtime == 1_000_000_000


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_an_export_that_broke_off_goes_on(tmp_path: Path, share: float) -> None:
    """Nothing half of it is taken for a whole file."""
    whole = archive(OBJECTS | RECORDS)
    with pytest.raises(CliError, match="breaks off") as caught:
        unpack(tmp_path, whole[: int(len(whole) * share)])
    assert caught.value.hint
    before = files_in(tmp_path)
    assert before.items() <= (OBJECTS | RECORDS).items()
    done = unpack(tmp_path, whole)
    assert (done.present, done.written) == (len(before), 5 - len(before))
    assert files_in(tmp_path) == OBJECTS | RECORDS


def test_an_archive_without_its_summary_is_not_whole(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="end is missing"):
        unpack(tmp_path, archive(OBJECTS, counts=False))


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/outside",
        "executions/../../outside",
        "a//b",
        "./a",
        "a\\b",
        "a\nb",
        "a/.factflow-tmp-x",
    ],
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(CliError, match="no name of a stored object"):
        unpack(tmp_path / "deep" / "out", archive({name: b"x"}))
    assert files_in(tmp_path) == {}


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_nothing_but_files_is_made(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(CliError, match="no name of a stored object"):
        unpack(tmp_path, archive({"a": b""}, kind=kind))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", [["executions"], ["executions", "e1"], ["executions", "e1", "x"]])
def test_links_in_the_folder_are_not_followed(tmp_path: Path, place: Sequence[str]) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    link = (tmp_path / "out").joinpath(*place)
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    with pytest.raises(CliError, match=r"symbolic link|something else"):
        unpack(tmp_path / "out", archive({"executions/e1/x": b"x"}))
    assert list(outside.iterdir()) == []


def test_another_file_in_the_way_is_named_and_kept(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(CliError, match="notes"):
        unpack(tmp_path, archive({"notes/a": b"x"}))
    with pytest.raises(CliError, match="something else"):
        unpack(tmp_path, archive({"notes": b"longer than mine"}))
    assert files_in(tmp_path) == {"notes": b"mine"}


def test_packed_storage_is_no_place_for_plain_files(tmp_path: Path) -> None:
    (tmp_path / ".factflow-packed").write_text("Factflow packed storage, format 1\n")
    with pytest.raises(CliError, match="packed storage"):
        PlainFiles(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CliError, match="file"):
        PlainFiles(tmp_path / "file" / "out")
