"""URLs: made absolute, written one way, and refused when they cannot be fetched safely.

Only `http` and `https` are let through. The normal form has a lower-case scheme and host (IDNA), no
default port, no fragment, no `.` and `..` segments, and is plain ASCII; escapes stay as the author
wrote them, since some servers care. Two URLs are the same page when their `dedupe_key` is equal
(RFC 3986, section 6.2.2: case of escapes and needless escapes do not matter).
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import httpx2

from factflow_protocols.errors import PermanentError

MAX_URL_LENGTH = 8192
_DEFAULT_PORTS = {"http": 80, "https": 443}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?")
_NUMBER_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DOTTED_QUAD = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_PATH_SAFE = _PRINTABLE.translate(str.maketrans("", "", '"#<>?`{}'))
_QUERY_SAFE = _PRINTABLE.translate(str.maketrans("", "", '"#<>'))
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class UrlRefusedError(PermanentError):
    """The text is no URL that can be fetched; the message says why."""

    code = "url_refused"

    def __init__(self, message: str, *, hint: str = "give an absolute http or https URL") -> None:
        super().__init__(message, hint=hint)


def resolve(reference: str, base: str | None = None) -> str:
    """Return `reference` in normal form, taken relative to `base` when it is not absolute.

    White space around it is ignored, line breaks and tabs inside it are dropped, as browsers do.
    Raises `UrlRefusedError`.
    """
    text = reference.strip()
    if not text:
        raise UrlRefusedError("an empty text is no URL")
    if len(text) > MAX_URL_LENGTH:
        raise UrlRefusedError(
            f"the URL {shorten(text)} has {len(text)} characters; at most {MAX_URL_LENGTH} are taken"
        )
    if _CONTROL.search(text):
        raise UrlRefusedError(f"the URL {shorten(text)} holds control characters")
    try:
        return _normalise(text, base)
    except UrlRefusedError:
        raise
    except (ValueError, UnicodeError, httpx2.InvalidURL) as error:
        raise UrlRefusedError(f"{shorten(text)} is no valid URL: {error}") from error


def _normalise(text: str, base: str | None) -> str:
    parts = urlsplit(text)
    if base is not None and not (parts.scheme and parts.netloc):
        if not parts.scheme and re.search(r"\s", text):
            raise UrlRefusedError(f"{shorten(text)} is no URL: it holds spaces and no host")
        parts = urlsplit(urljoin(base, text))
    if parts.scheme not in _DEFAULT_PORTS:
        kind = f"has the scheme {parts.scheme!r}" if parts.scheme else "has no http:// or https://"
        raise UrlRefusedError(f"the URL {shorten(text)} {kind}; only http and https are fetched")
    if "@" in parts.netloc:
        raise UrlRefusedError(
            "a URL with a user name or password is refused: it would be stored and logged with it",
            hint="leave out the part before the @",
        )
    netloc = _host(parts.hostname or "", text)
    port = parts.port
    if port is not None and port != _DEFAULT_PORTS[parts.scheme]:
        if port == 0:
            raise UrlRefusedError(f"the URL {shorten(text)} has port 0")
        netloc = f"{netloc}:{port}"
    path = quote(_without_dots(parts.path) or "/", safe=_PATH_SAFE)
    return urlunsplit((parts.scheme, netloc, path, quote(parts.query, safe=_QUERY_SAFE), ""))


def _host(host: str, text: str) -> str:
    """Return the host as it stands in a URL; addresses only in their one plain spelling."""
    if ":" in host:
        if "%" in host:
            raise UrlRefusedError(f"the URL {shorten(text)} names a network interface in its host")
        return f"[{ipaddress.IPv6Address(host)}]"
    if not host.isascii():
        host = httpx2.URL(f"http://{host}/").raw_host.decode("ascii")
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise UrlRefusedError(f"the URL {shorten(text)} has no valid host name")
    last = host.rstrip(".").rpartition(".")[2]
    if _NUMBER_LABEL.fullmatch(last):
        # Resolvers read 2130706433, 0x7f.1 and 0177.0.0.1 as addresses; one spelling is enough.
        if not _DOTTED_QUAD.fullmatch(host):
            raise UrlRefusedError(
                f"the URL {shorten(text)} writes its address in an unusual way",
                hint="write an IPv4 address as four decimal numbers",
            )
        return str(ipaddress.IPv4Address(host))
    return host


def _without_dots(path: str) -> str:
    """Return the path without `.` and `..` segments (RFC 3986, section 5.2.4)."""
    if "." not in path:
        return path
    segments = path.split("/")
    if "." not in segments and ".." not in segments:
        return path
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            if len(kept) > 1:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/".join(kept)


def dedupe_key(url: str) -> str:
    """Return what two spellings of one page have in common; `url` is in normal form."""
    if "%" not in url:
        return url

    def canonical(match: re.Match[str]) -> str:
        char = chr(int(match[1], 16))
        return char if char in _UNRESERVED else f"%{match[1].upper()}"

    return _ESCAPE.sub(canonical, url)


def host_of(url: str) -> str:
    """Return `host` or `host:port` of a URL in normal form."""
    return urlsplit(url).netloc


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL in normal form, without a trailing slash."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def same_site(url: str, other: str) -> bool:
    """Tell whether two URLs in normal form have the same host; scheme and a `www.` do not matter."""
    return _site(url) == _site(other)


def _site(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    return (parts.hostname or "").removeprefix("www."), parts.port


def shorten(text: str, length: int = 200) -> str:
    """Return the text fit for an error message: one line, no control characters, not too long."""
    clean = "".join(char if char.isprintable() else "�" for char in text[: length + 1])
    # A password must not get into a log by way of an error message.
    clean = re.sub(r"//[^/@\s]*@", "//***@", clean)
    return repr(clean if len(clean) <= length else clean[:length] + "…")
