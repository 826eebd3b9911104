"""Every case of the sitemap corpus gets the answer it expects, in bounded time and memory."""

from __future__ import annotations

import importlib.util
import sys
import tracemalloc
from pathlib import Path

import pytest

from factflow_webscraper.sitemap_xml import NotASitemapError, parse_sitemap

_spec = importlib.util.spec_from_file_location(
    "webscraper_corpus_cases", Path(__file__).with_name("corpus_cases.py")
)
assert _spec is not None
assert _spec.loader is not None
corpus = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = corpus
_spec.loader.exec_module(corpus)

CASES = corpus.load_cases()


@pytest.mark.skipif(not CASES, reason=f"no corpus at {corpus.corpus_folder()}")
def test_the_corpus_is_complete() -> None:
    assert len(CASES) == 97


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_case(case: object) -> None:
    assert corpus.judge(case) == []


@pytest.mark.skipif(not CASES, reason=f"no corpus at {corpus.corpus_folder()}")
def test_the_gzip_bomb_of_the_corpus_costs_little_memory() -> None:
    case = next(case for case in CASES if case.id == "scrapy-gzip-bomb")
    body = case.body()
    tracemalloc.start()
    try:
        with pytest.raises(NotASitemapError):
            parse_sitemap(body, case.facts["url"])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * case.expect["decompressed_bytes"]
