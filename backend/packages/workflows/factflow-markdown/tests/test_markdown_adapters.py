"""The adapters as a pipeline uses them: payloads in, results out, clear refusals."""

import inspect
from importlib.metadata import entry_points
from typing import Any

import pytest
from pydantic import ValidationError

from factflow_markdown.adapters.html_to_markdown import HtmlToMarkdownAdapter, HtmlToMarkdownConfig
from factflow_markdown.adapters.markdown_storage_writer import (
    MarkdownStorageConfig,
    MarkdownStorageWriterAdapter,
)
from factflow_markdown.adapters.segment_publisher import (
    SegmentPublisherAdapter,
    SegmentPublisherConfig,
)
from factflow_markdown.adapters.smart_segmenter import SmartSegmenterAdapter, SmartSegmenterConfig
from factflow_markdown.adapters.storage_retriever import (
    StorageRetrieverAdapter,
    StorageRetrieverConfig,
)
from factflow_markdown.tokens import TokenCounter
from factflow_protocols.errors import ObjectNotFoundError, PermanentError
from factflow_protocols.pipeline import (
    ADAPTER_SPEC_ATTRIBUTE,
    AdapterResult,
    Emitted,
    PipelineContext,
)

HTML = "<html><body><main><h1>Start</h1><p>See <a href='next'>next</a>.</p></main></body></html>"


def convert(payload: Any, config: dict[str, Any] | None = None, **context: Any) -> Any:
    adapter = HtmlToMarkdownAdapter(HtmlToMarkdownConfig(**(config or {})))
    return adapter.process(PipelineContext(payload, stage="clean", **context))


def segments(markdown: str, **config: Any) -> list[Emitted]:
    adapter = SmartSegmenterAdapter(SmartSegmenterConfig(**config))
    return children(adapter.process(PipelineContext(markdown)))


def children(result: AdapterResult) -> list[Emitted]:
    assert isinstance(result.emitted, list)
    return result.emitted


def test_every_adapter_is_found_by_its_entry_point_under_its_own_name() -> None:
    mine = [
        one for one in entry_points(group="factflow.adapters") if "factflow_markdown" in one.value
    ]
    names = {one.name: getattr(one.load(), ADAPTER_SPEC_ATTRIBUTE).type_name for one in mine}
    assert names == {name: name for name in names}
    assert set(names) >= {"html_to_markdown", "smart_segmenter", "markdown_storage_writer"}


def test_converting_and_segmenting_run_in_threads() -> None:
    assert not inspect.iscoroutinefunction(HtmlToMarkdownAdapter.process)
    assert not inspect.iscoroutinefunction(SmartSegmenterAdapter.process)


def test_a_page_becomes_markdown_with_its_facts() -> None:
    result = convert(HTML, metadata={"url": "http://x/a", "final_url": "http://x/b/"})
    assert result.payload == "# Start\n\nSee [next](http://x/b/next).\n"
    assert result.content_type == "text/markdown; charset=utf-8"
    assert result.metadata["title"] == "Start"
    assert result.metadata["headings"] == 1


@pytest.mark.parametrize("payload", [{"html": HTML, "url": "http://x/b/"}, HTML.encode()])
def test_an_object_with_html_and_bytes_are_read_too(payload: Any) -> None:
    assert convert(payload, metadata={"url": "http://x/b/"}).payload.endswith(
        "[next](http://x/b/next).\n"
    )


def test_bytes_are_decoded_by_their_charset() -> None:
    payload = "<main><p>Blåbær</p></main>".encode("latin-1")
    assert convert(payload, content_type="text/html; charset=ISO-8859-1").payload == "Blåbær\n"


@pytest.mark.parametrize("payload", [7, ["x"], {"text": "x"}])
def test_another_payload_is_refused_with_stage_and_reason(payload: Any) -> None:
    with pytest.raises(PermanentError, match="clean needs text, or an object with 'html'"):
        convert(payload)


def test_an_empty_page_fails_or_ends_its_chain() -> None:
    with pytest.raises(PermanentError, match="has no text"):
        convert("<body></body>")
    assert convert("<body></body>", {"empty_page": "filter"}) is None


def test_a_page_over_max_tokens_is_cut_between_blocks_or_fails() -> None:
    html = "<main><h1>T</h1>" + "<p>Some words in a paragraph.</p>" * 50 + "</main>"
    result = convert(html, {"max_tokens": 64})
    assert TokenCounter("gpt-4o").fits(result.payload.strip(), 64)
    assert result.payload.endswith("paragraph.\n")
    assert result.metadata["truncated_from_characters"] > len(result.payload)
    with pytest.raises(PermanentError, match="max_tokens"):
        convert(html, {"max_tokens": 64, "over_max_tokens": "fail"})
    assert "truncated_from_characters" not in convert(html, {"max_tokens": 4096}).metadata


def test_a_page_over_max_characters_fails() -> None:
    with pytest.raises(PermanentError, match="max_characters"):
        convert(HTML, {"max_characters": 10})


@pytest.mark.parametrize(
    "config",
    [
        {"main_selectors": ["div[["]},
        {"drop_selectors": [""]},
        {"tokenizer": "nobody"},
        {"max_tokens": 0},
        {"unknown": 1},
    ],
)
def test_a_config_that_cannot_work_is_refused_when_it_is_read(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HtmlToMarkdownConfig(**config)


@pytest.mark.parametrize(
    "config", [{"max_tokens": 8}, {"overlap_tokens": 400}, {"min_tokens": 600}, {"tokenizer": "x"}]
)
def test_segment_sizes_that_contradict_each_other_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SmartSegmenterConfig(**config)


def test_segments_are_children_with_text_place_and_count() -> None:
    (child,) = segments("# A\n\ntext\n")
    assert child.payload == {
        "text": "# A\n\ntext",
        "heading_path": ["A"],
        "ordinal": 0,
        "token_count": TokenCounter("gpt-4o").count("# A\n\ntext"),
        "start": 0,
        "end": 9,
    }
    assert child.metadata["heading_path"] == ["A"]


def test_a_text_inserted_in_one_section_renames_no_segment_of_another() -> None:
    before = "# D\n\nintro\n\n## One\n\nfirst\n\n## Two\n\nsecond\n"
    after = before.replace("## Two", "## New\n\nadded\n\n## Two").replace("first", "first, edited")
    old = {one.key for one in segments(before, min_tokens=0)}
    new = {one.key for one in segments(after, min_tokens=0)}
    assert new - old == {"D > New [0]"}
    assert old - new == set()


def test_keys_are_unique_and_bounded() -> None:
    keys = [one.key for one in segments(("# " + "x" * 250 + "\n\ntext\n\n") * 3, min_tokens=0)]
    assert len(set(keys)) == 3
    assert max(len(key or "") for key in keys) < 200


def test_a_document_without_text_emits_nothing() -> None:
    assert segments(" \n") == []


async def test_a_segment_is_stored_as_markdown_that_says_where_it_is_from() -> None:
    (child,) = segments('# A: "b"\n\ntext\n')
    context = PipelineContext(
        child.payload, metadata={"url": "http://x/", "title": "T\u2028: x"}, origin_id="o1"
    )
    result = await MarkdownStorageWriterAdapter(MarkdownStorageConfig()).process(context)
    assert result.payload.startswith(
        '---\nurl: "http://x/"\ntitle: "T\\u2028: x"\nheading_path: ["A: \\"b\\""]\nordinal: 0\n'
    )
    assert result.payload.endswith('document_id: "o1"\n---\n\n# A: "b"\n\ntext\n')
    assert result.metadata["document_id"] == "o1"
    assert result.content_type == "text/markdown; charset=utf-8"


async def test_the_front_matter_can_be_left_out_and_the_facts_stay() -> None:
    writer = MarkdownStorageWriterAdapter(MarkdownStorageConfig(include_front_matter=False))
    result = await writer.process(PipelineContext("text", metadata={"url": "http://x/"}))
    assert result.payload == "text\n"
    assert result.metadata == {"url": "http://x/"}


async def test_a_list_of_segments_is_published_one_by_one_and_one_passes() -> None:
    publisher = SegmentPublisherAdapter(SegmentPublisherConfig())
    listed = [{"text": "a", "ordinal": 0}, {"text": "b", "ordinal": 1}]
    result = await publisher.process(PipelineContext({"segments": listed}))
    assert [one.payload for one in children(result)] == listed
    assert (await publisher.process(PipelineContext(listed[0]))).payload == listed[0]
    for wrong in ("text", {"x": 1}, [{"no": "text"}]):
        with pytest.raises(PermanentError):
            await publisher.process(PipelineContext(wrong))


class OneObjectStore:
    async def read(self, key: str) -> bytes:
        if key != "executions/e/r/s/m.html":
            raise ObjectNotFoundError(key)
        return HTML.encode()


async def test_a_stored_page_is_read_by_its_key() -> None:
    retriever = StorageRetrieverAdapter(StorageRetrieverConfig())
    payload = {"storage_key": "executions/e/r/s/m.html", "url": "http://x/"}
    result = await retriever.process(PipelineContext(payload, storage=OneObjectStore()))
    assert (result.payload, result.content_type) == (HTML, "text/html; charset=utf-8")
    assert result.metadata == {"url": "http://x/"}


@pytest.mark.parametrize("payload", [{"storage_key": "gone"}, "gone", {"x": 1}, 3])
async def test_a_key_without_an_object_fails_the_message(payload: Any) -> None:
    retriever = StorageRetrieverAdapter(StorageRetrieverConfig())
    with pytest.raises(PermanentError):
        await retriever.process(PipelineContext(payload, storage=OneObjectStore()))
