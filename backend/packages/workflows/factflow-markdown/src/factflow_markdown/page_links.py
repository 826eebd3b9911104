"""Links and images of a page: dangerous and empty ones go, lazy images get their source."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode

_IGNORED_IN_SCHEME = re.compile(r"[\x00-\x20]+")
_DANGEROUS = ("javascript:", "vbscript:", "data:")
_LAZY_SOURCES = ("data-src", "data-original", "data-lazy-src", "data-actualsrc", "data-hi-res-src")
_LAZY_SETS = ("data-srcset", "srcset")


def base_address(tree: LexborHTMLParser, page_url: str) -> str | None:
    """Return the address relative links start from: `<base href>` joined to the page's own.

    None when neither makes an absolute http(s) or file address.
    """
    base = tree.css_first("base[href]")
    href = (base.attributes.get("href") or "") if base is not None else ""
    try:
        joined = urljoin(page_url, href.strip())
        parts = urlsplit(joined)
    except ValueError:
        joined, parts = page_url, urlsplit("")
    absolute = parts.scheme in {"http", "https", "file"} and (
        parts.netloc or parts.scheme == "file"
    )
    return joined if absolute else None


def clean_links(main: LexborNode) -> None:
    """Unwrap links that run code or lead nowhere, and remove those without text and image."""
    for link in main.css("a"):
        href = _IGNORED_IN_SCHEME.sub("", link.attributes.get("href") or "")
        if not link.text(strip=True) and link.css_first("img") is None:
            link.decompose()
        elif not href or href.lower().startswith(_DANGEROUS):
            link.unwrap()


def reveal_lazy_images(main: LexborNode) -> None:
    """Give images that wait for a script the source the script would set."""
    for image in main.css("img"):
        attributes = image.attributes
        source = attributes.get("src") or ""
        if source and not source.startswith("data:"):
            continue
        lazy = next((attributes[name] for name in _LAZY_SOURCES if attributes.get(name)), None)
        if lazy is None:
            sets = next((attributes[name] for name in _LAZY_SETS if attributes.get(name)), None)
            lazy = sets.split()[0].rstrip(",") if sets and sets.split() else None
        if lazy:
            image.attrs["src"] = lazy


def lift_links_into_headings(main: LexborNode) -> None:
    """Put a link that encloses a heading inside it, so that the heading stays one."""
    for link in main.css("a[href]"):
        heading = link.css_first("h1,h2,h3,h4,h5,h6")
        if heading is None:
            continue
        inner = main.parser.create_node("a")
        inner.attrs["href"] = link.attributes.get("href")
        inner.inner_html = heading.inner_html or ""
        heading.inner_html = ""
        heading.insert_child(inner)
        link.unwrap()
