"""HTML page to markdown: bound it, cut the main node, clean it, convert it, and never lose text silently."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import html_to_markdown as converter
from selectolax.lexbor import LexborHTMLParser, LexborNode

from factflow_markdown import page_cleaning as cleaning
from factflow_markdown.code_blocks import normalise_code
from factflow_markdown.headings import find_headings
from factflow_markdown.layout_tables import bound_spans, unfold_layout_tables
from factflow_markdown.main_content import MAIN_SELECTORS, MainNode, find_main
from factflow_markdown.nesting import TooMuchMarkupError, flatten, text_only
from factflow_markdown.page_links import (
    base_address,
    clean_links,
    lift_links_into_headings,
    reveal_lazy_images,
)
from factflow_markdown.page_text import pieces_of, text_length, text_of

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BLANK_LINES = re.compile(r"\n{4,}")
_LITERAL_TAG = re.compile(
    r"(<(pre|code|tt|samp|kbd)(?=[\s>]).*?(?:</\2>|\Z))|&lt;(?=[A-Za-z/!?])", re.DOTALL
)
_ESCAPE_MARK = "\ue000"
"""A private-use character that becomes a backslash after the conversion, which would escape one."""
_TITLE_SEPARATOR = re.compile(r"\s+(?:[|·•–—»]|::|-)\s+")
_DEPTH_EXCEEDED = converter.WarningKind.DEPTH_LIMIT_EXCEEDED
LOST_SHARE = 0.5
"""Of the main node's text, what its markdown must hold; less means that the converter gave up."""


@dataclass(frozen=True, slots=True)
class ConversionSettings:
    """What to keep of a page; see `HtmlToMarkdownConfig` for the meaning of each."""

    main_content: bool = True
    preserve_images: bool = True
    title_heading: bool = True
    main_selectors: tuple[str, ...] = ()
    drop_selectors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Markdown:
    """A page's markdown. `found_by` names the selector of the main node, or `page`, `density`, `body`;
    `text` when the page could only be read as text without its structure."""

    text: str
    title: str
    language: str
    found_by: str


def to_markdown(html: str, url: str = "", settings: ConversionSettings | None = None) -> Markdown:
    """Convert a page; links become absolute against `<base href>` and `url`.

    Tried in turn, until the result holds the text it was made from: the page's main node; the whole page
    with what is hidden; the bare text. The result's `text` is '' only for a page without any.
    """
    settings = settings or ConversionSettings()
    html = _CONTROL.sub("", html.encode("utf-8", "replace").decode())
    try:
        html = flatten(html)
    except TooMuchMarkupError:
        return _as_text(html)
    found = _convert(html, url, settings)
    if found is None:
        everything = replace(settings, main_content=False)
        found = _convert(html, url, everything, hidden=True)
    return found if found is not None else _as_text(html)


def _convert(
    html: str, url: str, settings: ConversionSettings, *, hidden: bool = False
) -> Markdown | None:
    """Return the markdown, or None when text was lost on the way, or all of it was hidden."""
    tree = LexborHTMLParser(html)
    title, language = page_title(tree), _language(tree)
    base = base_address(tree, url)
    cleaning.drop_silent(tree)
    if tree.body is None:
        return Markdown("", title, language, "page")
    before = text_length(tree.body)
    if not hidden:
        cleaning.drop_hidden(tree)
    main = _cut(tree, tree.body, settings)
    for selector in settings.drop_selectors:
        cleaning.drop(main.node, selector)
    _normalise(main.node)
    kept = text_of(main.node)
    if before and not kept and not settings.drop_selectors:
        return None
    text = _run_converter(main.node, base, images=settings.preserve_images)
    if text is None or (kept and _word_characters(text) < LOST_SHARE * _word_characters(kept)):
        return None
    if settings.main_content and settings.title_heading:
        text = _with_title(text, title)
    return Markdown(text, title or _first_heading(text), language, main.found_by)


def _cut(tree: LexborHTMLParser, body: LexborNode, settings: ConversionSettings) -> MainNode:
    if not settings.main_content:
        return MainNode(body, "page")
    cleaning.drop_chrome(tree)
    main = find_main(tree, body, settings.main_selectors or MAIN_SELECTORS)
    if main.found_by in {"density", "body"}:
        cleaning.drop_page_frame(tree)
    cleaning.drop_lesser_parts(main.node)
    return main


def _normalise(main: LexborNode) -> None:
    main.unwrap_tags(["form"])
    cleaning.unlink_headings(main)
    reveal_lazy_images(main)
    clean_links(main)
    lift_links_into_headings(main)
    normalise_code(main)
    unfold_layout_tables(main)
    bound_spans(main)


def _with_literal_tags(html: str) -> str:
    """Mark text that spells a tag, lest it become one in the markdown; code needs no mark."""
    html = html.replace(_ESCAPE_MARK, "")
    return _LITERAL_TAG.sub(lambda match: match[0] if match[1] else _ESCAPE_MARK + match[0], html)


def _run_converter(main: LexborNode, base: str | None, *, images: bool) -> str | None:
    """Return the converter's markdown, None when it met its limits."""
    options = converter.ConversionOptions(
        extract_metadata=False,
        preprocessing=converter.PreprocessingOptions(enabled=False),
        hidden_content="all",
        inline_data_media="alt_text_only",
        skip_images=not images,
        compact_tables=True,
        base_url=base,
    )
    parts: list[str] = []
    for html in pieces_of(main):
        try:
            result = converter.convert(_with_literal_tags(html), options)
        except converter.ConversionError:
            return None
        if any(warning.kind == _DEPTH_EXCEEDED for warning in result.warnings):
            return None
        parts.append((result.content or "").replace(_ESCAPE_MARK, "\\").strip("\n"))
    text = _BLANK_LINES.sub("\n\n\n", "\n\n".join(part for part in parts if part.strip()))
    return text + "\n" if text else ""


def _as_text(html: str) -> Markdown:
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text_only(html))]
    text = "\n\n".join(part for part in paragraphs if part)
    return Markdown(text + "\n" if text else "", "", "", "text")


def _word_characters(text: str) -> int:
    return sum(map(str.isalnum, text))


def page_title(tree: LexborHTMLParser) -> str:
    """Return the page's own title: of Open Graph, else of `<title>` without the site's name."""
    social = tree.css_first("meta[property='og:title']")
    if social is not None and (
        content := " ".join((social.attributes.get("content") or "").split())
    ):
        return content
    node = tree.css_first("head > title") or tree.css_first("title")
    title = " ".join(node.text().split()) if node is not None else ""
    site = tree.css_first("meta[property='og:site_name']")
    site_name = (site.attributes.get("content") or "").strip() if site is not None else ""
    parts = _TITLE_SEPARATOR.split(title)
    for heading in tree.css("h1"):
        if (text := text_of(heading).rstrip("¶# ")) in parts:
            return text
    if site_name and title.endswith(site_name):
        bare = _TITLE_SEPARATOR.split(title.removesuffix(site_name) + " ")[0].strip()
        return bare or title
    return title


def _language(tree: LexborHTMLParser) -> str:
    root = tree.css_first("html")
    return ((root.attributes.get("lang") or "") if root is not None else "").strip()[:35]


def _with_title(text: str, title: str) -> str:
    """Put the title on top as first-level heading, unless one is there or any heading says the same."""
    if not title or not text:
        return text
    headings = find_headings(text)
    said = any(one.level == 1 or one.text.casefold() == title.casefold() for one in headings)
    return text if said else f"# {title}\n\n{text}"


def _first_heading(text: str) -> str:
    return next((heading.text for heading in find_headings(text)), "")
