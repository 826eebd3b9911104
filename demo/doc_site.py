"""A small web site made from markdown documents: pages with a menu, a sitemap.xml and a robots.txt.

The pages look like those of any documentation site, so that a scraper has to find the content among
menu, contents list and footer.
"""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

PROJECT_DOCUMENTS = ("*.md", "docs/**/*.md", "backend/packages/**/README.md")
ALL_DOCUMENTS = ("**/*.md",)
HOME = ("index.md", "README.md")
MENU_SENTENCE = "All pages of this site"
FOOTER_SENTENCE = "You have reached the end of this page. Every page ends with this line."
"""Both stand around the content of every page, and so in no page's content."""


class NoDocumentsError(Exception):
    """There is nothing to make a site from."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page: where it stands below the site's root, its title, and its content as HTML."""

    address: str
    title: str
    content: str
    headings: Sequence[str]
    modified: datetime

    def url(self, base_url: str) -> str:
        """Return the page's URL on the site at `base_url`, which has no slash at its end."""
        return f"{base_url}/{quote(self.address)}"


def build_site(documents: Path, patterns: Sequence[str], folder: Path, base_url: str) -> list[Page]:
    """Write the site of all markdown files below `documents` into `folder`; return its pages.

    A page stands where its document stands; the home page is the index or README on top, else a list
    of all pages. Raises `NoDocumentsError` when no file that matches has any text.
    """
    sources = _sources(documents, patterns)
    home = next((documents / name for name in HOME if documents / name in sources), None)
    addresses = {
        source: "index.html" if source == home else _address(source.relative_to(documents))
        for source in sources
    }
    pages = [_page(source, addresses) for source in sources]
    if not pages:
        raise NoDocumentsError(f"no markdown file with text in {documents}")
    if "index.html" not in addresses.values():
        pages.insert(0, _list_of(pages))
    for page in pages:
        path = folder / page.address
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_laid_out(page, pages), encoding="utf-8")
    (folder / "sitemap.xml").write_text(_sitemap(pages, base_url), encoding="utf-8")
    (folder / "robots.txt").write_text(
        f"User-agent: *\nAllow: /\n\nSitemap: {base_url}/sitemap.xml\n", encoding="utf-8"
    )
    return pages


def _sources(documents: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the files with text, those of hidden folders left out."""
    found = {path for pattern in patterns for path in documents.glob(pattern)}
    return sorted(
        path
        for path in found
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(documents).parts)
        and path.read_text(encoding="utf-8", errors="replace").strip()
    )


def _address(document: Path) -> str:
    return document.with_suffix(".html").as_posix()


def _page(source: Path, addresses: Mapping[Path, str]) -> Page:
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = markdown.parse(source.read_text(encoding="utf-8", errors="replace"))
    headings = []
    title = ""
    for token, inline in pairwise(tokens):
        if token.type != "heading_open":
            continue
        if token.tag == "h1" and not title:
            title = _plain(inline)
        elif token.tag == "h2":
            headings.append(_plain(inline))
    for token in tokens:
        _point_links(token, source, addresses)
    return Page(
        address=addresses[source],
        title=title or source.stem,
        content=markdown.renderer.render(tokens, markdown.options, {}),
        headings=headings,
        modified=datetime.fromtimestamp(source.stat().st_mtime, UTC),
    )


def _plain(inline: Token) -> str:
    return "".join(part.content for part in inline.children or ())


def _point_links(token: Token, source: Path, addresses: Mapping[Path, str]) -> None:
    """Make links between documents links between pages; one to any other file keeps its text only."""
    for part in token.children or ():
        target = urlsplit(str(part.attrs.get("href", "")))
        if part.type != "link_open" or target.scheme or target.netloc or not target.path:
            continue
        wanted = Path(os.path.normpath(source.parent / unquote(target.path)))
        if wanted in addresses:
            there = os.path.relpath(addresses[wanted], Path(addresses[source]).parent)
            part.attrs["href"] = quote(there) + (f"#{target.fragment}" if target.fragment else "")
        else:
            del part.attrs["href"]


def _list_of(pages: Sequence[Page]) -> Page:
    """Return a home page that names all others."""
    links = "\n".join(
        f'<li><a href="{quote(page.address)}">{html.escape(page.title)}</a></li>' for page in pages
    )
    return Page(
        address="index.html",
        title="Home",
        content=f"<h1>Home</h1>\n<p>These documents are here:</p>\n<ul>\n{links}\n</ul>",
        headings=(),
        modified=max(page.modified for page in pages),
    )


def _laid_out(page: Page, pages: Sequence[Page]) -> str:
    """Return the whole page: the content amid what surrounds it on every page."""
    up = "../" * page.address.count("/")
    menu = "\n".join(
        f'<li><a href="{up}{quote(other.address)}">{html.escape(other.title)}</a></li>'
        for other in pages
    )
    contents = "\n".join(f"<li>{html.escape(heading)}</li>" for heading in page.headings)
    title = html.escape(page.title)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>body {{ display: grid; grid-template-columns: 16em 1fr 12em; gap: 2em }}</style>
<script>window.addEventListener("load", function () {{ document.body.dataset.ready = "yes"; }});</script>
</head>
<body>
<header class="site-header"><a href="{up}index.html">Home</a></header>
<nav class="menu" aria-label="{MENU_SENTENCE}">
<p>{MENU_SENTENCE}</p>
<ul>
{menu}
</ul>
</nav>
<main>
<article>
{page.content}
</article>
</main>
<aside class="contents"><p>On this page</p><ul>
{contents}
</ul></aside>
<footer><p>{FOOTER_SENTENCE}</p></footer>
</body>
</html>
"""


def _sitemap(pages: Sequence[Page], base_url: str) -> str:
    entries = "\n".join(
        f"  <url><loc>{html.escape(page.url(base_url))}</loc>"
        f"<lastmod>{page.modified:%Y-%m-%d}</lastmod></url>"
        for page in pages
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{entries}\n</urlset>\n'
    )
