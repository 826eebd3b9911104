"""`html_to_markdown`: a page's HTML in, its main content as markdown out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from selectolax.lexbor import LexborHTMLParser, SelectolaxError

from factflow_markdown.headings import find_headings
from factflow_markdown.markdown_conversion import ConversionSettings, Markdown, to_markdown
from factflow_markdown.payloads import read_text, source_url
from factflow_markdown.tokens import TokenCounter, known_tokenizer
from factflow_protocols.errors import PermanentError
from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterResult,
    PipelineContext,
    register_adapter_type,
)

MARKDOWN_TYPE = "text/markdown; charset=utf-8"
MAX_TITLE = 500
"""Characters of a title that travel on as metadata: a page may call anything its title."""


def _known_selector(selector: str) -> str:
    try:
        LexborHTMLParser("<p></p>").css(selector)
    except SelectolaxError as error:
        raise ValueError(f"{selector!r} is not a CSS selector") from error
    return selector


Selector = Annotated[str, Field(min_length=1), AfterValidator(_known_selector)]


class HtmlToMarkdownConfig(AdapterConfigModel):
    """Settings of `html_to_markdown`."""

    preserve_images: bool = Field(True, description="Keep images as `![alt](address)`.")
    main_content: bool = Field(
        True, description="Cut the main content; false converts the whole page with its navigation."
    )
    title_heading: bool = Field(
        True,
        description="Put the page's title on top when the main content has no first-level heading.",
    )
    main_selectors: tuple[Selector, ...] = Field(
        (),
        description="CSS selectors tried in order for the main node, instead of the built-in ones.",
    )
    drop_selectors: tuple[Selector, ...] = Field(
        (), description="CSS selectors of nodes to leave out of the main content."
    )
    max_tokens: int | None = Field(
        None,
        ge=16,
        description="Keep at most this many tokens of the markdown; no limit by default.",
    )
    over_max_tokens: Literal["truncate", "fail"] = Field(
        "truncate",
        description="What to do with a page over `max_tokens`: cut it between blocks, or fail it.",
    )
    tokenizer: Annotated[str, AfterValidator(known_tokenizer)] = Field(
        "gpt-4o", description="Model whose tokens `max_tokens` counts."
    )
    max_characters: int = Field(
        20_000_000,
        ge=1,
        description="Longer pages fail: converting takes memory of about 100 times.",
    )
    empty_page: Literal["fail", "filter"] = Field(
        "fail", description="What to do with a page without any text: fail it, or end its chain."
    )


@register_adapter_type("html_to_markdown", config=HtmlToMarkdownConfig)
class HtmlToMarkdownAdapter:
    """Turns an HTML page into markdown of its main content, with absolute links."""

    def __init__(self, config: HtmlToMarkdownConfig) -> None:
        self._config = config
        self._counter = TokenCounter(config.tokenizer) if config.max_tokens else None
        self._settings = ConversionSettings(
            main_content=config.main_content,
            preserve_images=config.preserve_images,
            title_heading=config.title_heading,
            main_selectors=config.main_selectors,
            drop_selectors=config.drop_selectors,
        )

    def process(self, context: PipelineContext) -> AdapterResult | None:
        """Convert one page; plain, so that it runs in a thread and holds no event loop.

        The payload is the HTML, or an object with `html` and perhaps `url`; the page's address is taken
        from it or from the metadata (`final_url`, `url`). Raises `PermanentError`.
        """
        html = read_text(context, "html")
        if len(html) > self._config.max_characters:
            raise PermanentError(
                f"the page has {len(html)} characters, more than max_characters "
                f"({self._config.max_characters})",
                hint="raise max_characters of html_to_markdown if the machine has the memory",
            )
        converted = to_markdown(html, source_url(context), self._settings)
        if not converted.text:
            if self._config.empty_page == "filter":
                return None
            raise _no_text(html)
        text, facts = self._limited(converted.text)
        return AdapterResult(
            text, metadata={**_facts(converted, text), **facts}, content_type=MARKDOWN_TYPE
        )

    def _limited(self, text: str) -> tuple[str, dict[str, Any]]:
        limit = self._config.max_tokens
        if limit is None or self._counter is None or self._counter.fits(text, limit):
            return text, {}
        if self._config.over_max_tokens == "fail":
            raise PermanentError(
                f"the page's markdown has more than max_tokens ({limit}) tokens",
                hint="raise max_tokens, or set over_max_tokens: truncate",
            )
        _, end = next(self._counter.cut(text, limit))
        return text[:end].rstrip() + "\n", {"truncated_from_characters": len(text)}


def _no_text(html: str) -> PermanentError:
    return PermanentError(
        f"the page ({len(html)} characters of HTML) has no text",
        hint="a page built by scripts needs a crawler that runs them; "
        "empty_page: filter lets such pages pass without failing",
    )


def _facts(converted: Markdown, text: str) -> dict[str, Any]:
    """Return what travels on with the markdown; nothing that is empty covers earlier metadata."""
    facts = {
        "title": converted.title[:MAX_TITLE],
        "language": converted.language,
        "headings": len(find_headings(text)),
        "main_content": converted.found_by,
    }
    return {name: value for name, value in facts.items() if value != ""}
