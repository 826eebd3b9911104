"""Takes out of a parsed page what is not its content: scripts, navigation, banners, permalinks."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from factflow_markdown.page_text import text_length

SILENT = "script,style,template,noscript,object,embed,applet,canvas,iframe,frameset,audio,video,link,meta"
"""Never text."""

_HIDDEN = (
    "[aria-hidden=true]:not(body):not(main):not(article)",
    "[hidden]:not([hidden=until-found]):not([role=tabpanel])",
    "[style*='display:none' i]",
    "[style*='display: none' i]",
    "[style*='visibility:hidden' i]",
    "[style*='visibility: hidden' i]",
    "svg",
    "dialog",
    "button",
    "select",
    "input:not([type=checkbox])",
    "textarea",
    "datalist",
)

_CHROME = (
    "nav",
    "footer",
    "[role=navigation]",
    "[role=search]",
    "[role=banner]",
    "[role=contentinfo]",
    "[role=dialog]",
    "[role=alertdialog]",
    "[role=menu]",
    "[role=menubar]",
    "[role=toolbar]",
    "[class*=cookie i][class*=banner i]",
    "[class*=cookie i][class*=consent i]",
    "[class*=cookie i][class*=notice i]",
    "[id*=cookie i][id*=banner i]",
    "[id*=cookie i][id*=consent i]",
    "[id*=cookie i][id*=notice i]",
    "#onetrust-consent-sdk",
    "#CybotCookiebotDialog",
    ".cookiebar",
    ".cc-window",
    ".md-consent",
    ".skip-link",
    ".skip-to-content",
    ".breadcrumb",
    ".breadcrumbs",
    "[aria-label*=breadcrumb i]",
    ".md-sidebar",
    ".sphinxsidebar",
    ".wy-nav-side",
    ".rst-footer-buttons",
    ".wy-breadcrumbs",
    ".pagination-nav",
    ".prev-next-area",
    ".nav-chapters",
    ".nav-wide-wrapper",
    "#menu-bar",
    ".navbar",
    ".navheader",
    ".navfooter",
    ".navbox",
    ".vertical-navbox",
    ".catlinks",
    ".printfooter",
    ".mw-jump-link",
    ".noprint",
    "#siteSub",
    "#jump-to-nav",
)

_MARKS = (
    ".headerlink",
    ".header-anchor",
    ".hash-link",
    ".anchorjs-link",
    ".heading-anchor",
    ".sl-anchor-link",
    ".mw-editsection",
    ".viewcode-link",
    ".md-content__button",
    ".theme-edit-this-page",
    ".edit-this-page",
    ".edit-page-link",
    "a[rel~=edit]",
    "a[title^='Edit this page' i]",
    ".copybtn",
    ".md-clipboard",
    ".linenos",
    ".linenodiv",
    ".lineno",
    ".line-numbers-rows",
    ".visually-hidden:not(h1)",
    ".sr-only:not(h1)",
)

_SOFT = (
    ".toc",
    "#toc",
    ".table-of-contents",
    ".tableOfContents",
    "[class*=tableOfContents]",
    "div.contents.topic",
    ".sidebar",
    "#sidebar",
    "[role=complementary]",
    "[class*=share i][class*=button i]",
    "[class*=social i][class*=button i]",
    ".social-share",
    ".addthis_toolbox",
    ".related-posts",
    ".related",
    "#comments",
    ".comments",
    "#disqus_thread",
    ".newsletter",
    ".advertisement",
)
"""Taken out only where they are the lesser part: on an index page the table of contents is the content."""

_OUTER = "body > header,body > aside,body > div > header,.site-header,.site-footer,#footer,#header"
"""Page frames; looked at only where no main node was marked."""

_PERMALINK_TEXT = re.compile(
    r"[\s\u200b#¶§🔗⚓∞]*|(?:perma)?link(?: to this .*)?|anchor", re.IGNORECASE
)
_HEADING_LINKS = ",".join(f"h{level} a[href]" for level in range(1, 7))


def drop(root: LexborHTMLParser | LexborNode, selector: str) -> None:
    """Remove every node that matches."""
    for node in root.css(selector):
        node.decompose()


def drop_silent(tree: LexborHTMLParser) -> None:
    """Remove what is no text in any reading: scripts, styles, embedded objects."""
    drop(tree, SILENT)


def drop_hidden(tree: LexborHTMLParser) -> None:
    """Remove hidden nodes and controls. A hidden tab panel stays: its reader gets there by a click."""
    drop(tree, ",".join(_HIDDEN))
    for panel in tree.css("[role=tabpanel][hidden]"):
        del panel.attrs["hidden"]


def drop_chrome(tree: LexborHTMLParser) -> None:
    """Remove navigation, footers, banners, edit links and the marks that generators put beside headings."""
    drop(tree, ",".join(_CHROME))
    drop(tree, ",".join(_MARKS))


def drop_page_frame(tree: LexborHTMLParser) -> None:
    """Remove headers and asides around the content, unless they hold the page's main heading."""
    for node in tree.css(_OUTER):
        if node.css_first("h1") is None:
            node.decompose()


def drop_lesser_parts(main: LexborNode) -> None:
    """Remove contents lists, share buttons and the like where they are less than half of the text."""
    for selector in _SOFT:
        for node in main.css(selector):
            if node.mem_id != main.mem_id and 2 * text_length(node) < text_length(main):
                node.decompose()


def unlink_headings(main: LexborNode) -> None:
    """Remove permalinks from headings, and unwrap headings that are links to themselves."""
    for link in main.css(_HEADING_LINKS):
        text = link.text(strip=True)
        href = link.attributes.get("href") or ""
        if _PERMALINK_TEXT.fullmatch(text) and link.css_first("img") is None and "#" in href:
            link.decompose()
        elif href.startswith("#"):
            link.unwrap()
