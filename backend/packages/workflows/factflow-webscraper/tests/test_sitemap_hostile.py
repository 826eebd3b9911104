"""Documents made to hurt do not: no file of ours is read, and memory and work stay bounded."""

from __future__ import annotations

import gzip
import resource
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import pytest

from factflow_webscraper import sitemap_xml
from factflow_webscraper.inflate import GzipDamagedError, Inflater, OutputLimitError
from factflow_webscraper.sitemap_xml import NotASitemapError, parse_sitemap

URL = "https://a.example/sitemap.xml"
MEBIBYTE = 1024 * 1024


def urls_of(data: bytes) -> list[str]:
    try:
        return [page.url for page in parse_sitemap(data, URL).pages]
    except NotASitemapError:
        return []


def test_entities_reach_no_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("https://a.example/secret")
    for dtd in (
        f'<!DOCTYPE urlset [<!ENTITY x SYSTEM "{secret.as_uri()}">]>',
        f'<!DOCTYPE urlset [<!ENTITY % p SYSTEM "{secret.as_uri()}"> %p;]>',
        f'<!DOCTYPE urlset SYSTEM "{secret.as_uri()}">',
    ):
        data = f"{dtd}<urlset><url><loc>&x;</loc></url><url><loc>/a&x;b</loc></url></urlset>"
        assert "secret" not in str(urls_of(data.encode()))


def test_an_xinclude_is_plain_text() -> None:
    data = (
        b'<urlset xmlns:xi="http://www.w3.org/2001/XInclude"><url><loc>'
        b'<xi:include href="file:///etc/passwd" parse="text"/></loc></url></urlset>'
    )
    assert urls_of(data) == []


# Each program prints the largest memory of its process; a bomb that went off would need gigabytes.
_MEASURE = """
import gzip, resource, zlib
from factflow_webscraper.sitemap_xml import NotASitemapError, parse_sitemap
{setup}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    parse_sitemap(data, "https://a.example/sitemap.xml")
except NotASitemapError:
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""

_BOMBS = {
    "entity expansion": """
        levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
        data = (f'<!DOCTYPE urlset [<!ENTITY l0 "lol">{levels}]><urlset><url>'
                '<loc>&l11;</loc></url></urlset>').encode()
    """,
    "entity expansion in an attribute": """
        levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
        data = (f'<!DOCTYPE urlset [<!ENTITY l0 "lol">{levels}]><urlset a="&l11;"/>').encode()
    """,
    "quadratic entities": """
        data = (b'<!DOCTYPE urlset [<!ENTITY a "' + b"x" * 100000 + b'">]><urlset><url><loc>'
                + b"&a;" * 100000 + b"</loc></url></urlset>")
    """,
    "gzip bomb": """
        packer = zlib.compressobj(9, wbits=31)
        piece = b"<url/>" * 100000
        data = b"".join([packer.compress(b"<urlset>"), *(packer.compress(piece) for _ in range(400))])
    """,
    "nested gzip bomb": """
        packer = zlib.compressobj(9, wbits=31)
        data = gzip.compress(b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(500)),
                                       packer.flush()]))
    """,
    "masses of empty elements": """
        data = gzip.compress(b"<urlset>" + b"<a/>" * 10_000_000 + b"</urlset>")
    """,
    "masses of elements within one entry": """
        data = gzip.compress(b"<urlset><url>" + b"<loc/>" * 8_000_000 + b"</url></urlset>")
    """,
    "masses of entity references": """
        data = gzip.compress(b'<!DOCTYPE urlset SYSTEM "x"><urlset>' + b"&a;" * 10_000_000)
    """,
    "masses of comments": """
        data = gzip.compress(b"<urlset>" + b"<!---->" * 8_000_000 + b"</urlset>")
    """,
    "deep nesting": """
        data = gzip.compress(b"<urlset>" + b"<a>" * 10_000_000)
    """,
    "masses of empty lines": """
        data = gzip.compress(b"https://a.example/1" + b"\\n" * 50_000_000)
    """,
}


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="sizes and limits are read as Linux gives them")
@pytest.mark.parametrize("bomb", _BOMBS)
def test_a_bomb_costs_bounded_memory(bomb: str) -> None:
    # The limit on address space and processor time makes a bomb that goes off a failure, not a dead machine.
    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2048 * MEBIBYTE, 2048 * MEBIBYTE))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

    program = _MEASURE.format(setup=textwrap.dedent(_BOMBS[bomb]))
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        preexec_fn=limits,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert int(done.stdout) * 1024 < 400 * MEBIBYTE


def test_the_number_of_entries_read_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitemap_xml, "MAX_ENTRIES", 100)
    data = b"<urlset>" + b"".join(b"<url><loc>/%d</loc></url>" % n for n in range(500))
    document = parse_sitemap(data + b"</urlset>", URL)
    assert len(document.pages) == 100
    assert document.truncated
    assert "only the first 100" in document.problems[-1]


def test_unpacking_stops_at_its_limit() -> None:
    pieces: list[bytes] = []
    with pytest.raises(OutputLimitError):
        pieces.extend(Inflater(MEBIBYTE).feed(gzip.compress(bytes(64 * MEBIBYTE))))
    assert sum(map(len, pieces)) <= MEBIBYTE


def test_a_stream_of_several_members_is_read_through_in_any_pieces() -> None:
    packed = gzip.compress(b"one ") + gzip.compress(b"two") + b"\0\0litter"
    for size in (1, 3, 1000):
        inflater = Inflater(100)
        parts = [packed[start : start + size] for start in range(0, len(packed), size)]
        assert b"".join(piece for part in parts for piece in inflater.feed(part)) == b"one two"
        assert inflater.complete


def test_damage_is_told() -> None:
    packed = bytearray(gzip.compress(bytes(range(256)) * 100))
    packed[200:210] = bytes(10)
    with pytest.raises(GzipDamagedError):
        list(Inflater(MEBIBYTE).feed(bytes(packed)))
    cut = Inflater(MEBIBYTE)
    list(cut.feed(zlib.compress(b"x" * 1000)[:10]))
    assert not cut.complete
