"""Exact token counts, by the vocabularies compiled into semantic-text-splitter (no network).

The library cuts by tokens but does not tell their number, so it is found by bisection: a text has at
most n tokens exactly when a splitter of capacity n leaves it whole. Counting takes quadratic time in the
length of a run without white space, so runs over `LONGEST_RUN` characters are taken in parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from semantic_text_splitter import MarkdownSplitter, TextSplitter

LONGEST_TOKEN = 256
"""Characters no token exceeds in the vocabularies offered; what is longer in proportion cannot fit."""
LONGEST_RUN = 2_000

_WORD = re.compile(r"\S+")


class UnknownTokenizerError(ValueError):
    """No vocabulary of this name is compiled in."""


class TokenCounter:
    """Counts and cuts by the tokens of one model's vocabulary, for example `gpt-4o` or `gpt-4`.

    Raises `UnknownTokenizerError` for a model without one.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        try:
            TextSplitter.from_tiktoken_model(model, 1)
        except Exception as error:
            raise UnknownTokenizerError(
                f"no tokenizer for the model {model!r}; gpt-4o and gpt-4 are among the known ones"
            ) from error

    def fits(self, text: str, limit: int) -> bool:
        """Tell whether the text has at most `limit` tokens."""
        if not text:
            return limit >= 0
        if limit < 1 or len(text) > limit * LONGEST_TOKEN:
            return False
        if _has_long_run(text):
            return self.count(text) <= limit
        return self._whole(text, limit)

    def count(self, text: str) -> int:
        """Return the number of tokens."""
        return sum(self._count(text[start:end]) for start, end in _parts(text))

    def cut(self, markdown: str, limit: int, overlap: int = 0) -> Iterator[tuple[int, int]]:
        """Yield start and end of pieces of at most `limit` tokens, cut where markdown has its seams.

        White space around pieces belongs to none; up to `overlap` tokens belong to two.
        """
        splitter = MarkdownSplitter.from_tiktoken_model(self.model, limit, overlap)
        for part, part_end in _parts(markdown):
            for start, piece in splitter.chunk_indices(markdown[part:part_end]):
                yield part + start, part + start + len(piece)

    def _whole(self, text: str, limit: int) -> bool:
        splitter = TextSplitter.from_tiktoken_model(self.model, limit, trim=False)
        return len(splitter.chunks(text)) <= 1

    def _count(self, text: str) -> int:
        low, high = 0, max(1, len(text) // 4)
        while not self._whole(text, high):
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._whole(text, middle) else (middle, high)
        return high


def known_tokenizer(model: str) -> str:
    """Return the name unchanged, or raise `UnknownTokenizerError`."""
    return TokenCounter(model).model


def _has_long_run(text: str) -> bool:
    return len(text) > LONGEST_RUN and max(map(len, text.split()), default=0) > LONGEST_RUN


def _parts(text: str) -> Iterator[tuple[int, int]]:
    """Yield the parts counted apart: all of a text without long runs, else around and within the runs."""
    if not text:
        return
    start = 0
    if _has_long_run(text):
        for run in _WORD.finditer(text):
            if run.end() - run.start() <= LONGEST_RUN:
                continue
            if run.start() > start:
                yield start, run.start()
            for part in range(run.start(), run.end(), LONGEST_RUN):
                yield part, min(part + LONGEST_RUN, run.end())
            start = run.end()
    if start < len(text):
        yield start, len(text)
