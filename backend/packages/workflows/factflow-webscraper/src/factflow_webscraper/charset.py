"""From bytes to text, as browsers decide it: byte order mark, header, `<meta>`, then a guess.

Only encodings of the WHATWG Encoding Standard are taken from outside; the guess is UTF-8 when the bytes
are valid UTF-8, windows-1252 otherwise.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

_SNIFF_BYTES = 4096
_META = re.compile(
    rb"<meta[^>]{0,500}?charset\s*=\s*[\"']?\s*([a-zA-Z0-9_:.-]{1,40})", re.IGNORECASE
)
_XML = re.compile(rb"<\?xml[^>]{0,200}encoding\s*=\s*[\"']([a-zA-Z0-9_:.-]{1,40})")
_HEADER = re.compile(r"charset\s*=\s*[\"']?\s*([a-zA-Z0-9_:.-]{1,40})", re.IGNORECASE)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_KNOWN = {
    codecs.lookup(name).name: name
    for name in (
        *("utf-8", "utf-16-le", "utf-16-be", "koi8-r", "koi8-u", "mac-roman", "cp866", "cp874"),
        *(f"cp125{digit}" for digit in range(9)),
        *(f"iso8859-{part}" for part in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)),
        *("gb18030", "big5hkscs", "euc_jp", "iso2022_jp", "cp932", "cp949"),
    )
}
# What pages say, and what they mean by it.
_MEANT = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "utf-16": "utf-16-le",
}
_ALIASES = {"x-sjis": "cp932", "x-gbk": "gb18030", "x-mac-roman": "mac-roman", "utf8mb4": "utf-8"}


@dataclass(frozen=True, slots=True)
class DecodedText:
    """Text, and the encoding it was read by; `damaged` when some bytes did not fit it."""

    text: str
    charset: str
    damaged: bool = False


def decode(body: bytes, content_type: str = "") -> DecodedText:
    """Return the text of a document; bytes that do not fit become U+FFFD. Never raises."""
    for mark, marked in _BOMS:
        if body.startswith(mark):
            return _read(body[len(mark) :], marked)
    header = _HEADER.search(content_type)
    name = _known(header[1]) if header else None
    if name is None:
        head = body[:_SNIFF_BYTES]
        declared = _META.search(head) or _XML.search(head)
        name = _known(declared[1].decode("ascii")) if declared else None
        if name is not None and name.startswith("utf-16"):
            name = "utf-8"  # it could be read as ASCII, so UTF-16 it is not
    if name is not None:
        return _read(body, name)
    try:
        return DecodedText(body.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        return _read(body, "cp1252")


def _known(label: str) -> str | None:
    """Return the codec for a label found outside, None for one that is not to be used."""
    label = _ALIASES.get(label.lower(), label.lower())
    try:
        name = codecs.lookup(label).name
    except LookupError:
        return None
    name = _MEANT.get(name, name)
    return _KNOWN.get(codecs.lookup(name).name)


def _read(body: bytes, name: str) -> DecodedText:
    try:
        return DecodedText(body.decode(name), _label(name))
    except UnicodeDecodeError:
        if (
            name == "cp1252"
        ):  # five bytes have no meaning in it; browsers make control codes of them
            text = "".join(_CP1252[byte] for byte in body)
            return DecodedText(text, _label(name))
        return DecodedText(body.decode(name, "replace"), _label(name), damaged=True)


def _label(name: str) -> str:
    return re.sub(r"^cp(125\d|874)$", r"windows-\1", name.replace("utf-16-", "utf-16"))


_CP1252 = [bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(256)]
