"""Real pages: what the corpus expects is kept, and never less than the bare libraries keep."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load_report() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "factflow_markdown_corpus_report", Path(__file__).with_name("corpus_report.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


Scores = dict[str, dict[str, Any]]
report = _load_report()
corpus = report.corpus_root()
pytestmark = pytest.mark.skipif(
    corpus is None, reason="no corpus on this machine; FACTFLOW_CORPUS names its folder"
)

FLOORS = {
    "site-a headings": 0.999,
    "site-a code": 0.998,
    "site-a links": 0.999,
    "site-a words": 0.97,
    "pages jk": 0.81,
    "pages rd": 0.985,
    "pages tf": 1.0,
    "pages mi": 1.0,
    "snippets inscriptis": 0.70,
    "snippets markdownify": 0.86,
    "snippets turndown": 0.91,
}


@pytest.fixture(scope="module")
def scores() -> Scores:
    result: Scores = report.full_report(corpus)
    return result


@pytest.mark.long
@pytest.mark.parametrize("measure", FLOORS)
def test_expectations_are_met_to_the_floor_and_never_less_than_by_the_bare_libraries(
    scores: Scores, measure: str
) -> None:
    ours, raw, naive = (scores[measure][way] for way in ("ours", "raw", "naive"))
    assert ours.share >= FLOORS[measure], ours.missed
    assert ours.share >= raw.share
    assert ours.share >= naive.share


def test_every_page_of_the_site_is_measured(scores: Scores) -> None:
    assert scores["site-a words"]["ours"].total == 69
    assert scores["site-a headings"]["ours"].total > 1000
