"""What of an HTML page ends up in its markdown."""

import pytest

from factflow_markdown.markdown_conversion import ConversionSettings, to_markdown

URL = "https://docs.example.org/guide/start/"


NUMBERED = """<table class="highlighttable"><tr><td class="linenos"><pre>1</pre></td>
<td class="code"><div class="language-python"><pre>x = 1</pre></div></td></tr></table>"""


def page(main: str, *, title: str = "Start", head: str = "") -> str:
    return f"""<!doctype html><html lang="en"><head><title>{title}</title>{head}</head><body>
    <header><nav><a href="/">Home</a><a href="/guide/">Guide</a></nav></header>
    <div class="cookie-banner">We use cookies. <button>Accept</button></div>
    <main>{main}</main>
    <footer>Copyright by nobody</footer><script>var tracked = "tracked";</script></body></html>"""


def test_navigation_banner_footer_and_scripts_are_gone_and_the_main_content_stays() -> None:
    result = to_markdown(page("<h1>Start</h1><p>Install it first.</p>"), URL)
    assert result.text == "# Start\n\nInstall it first.\n"
    assert result.found_by == "main"
    assert (result.title, result.language) == ("Start", "en")


def test_headings_lists_and_tables_keep_their_structure() -> None:
    main = """<h1>T</h1><h2>Part</h2><ul><li>one<ul><li>inner</li></ul></li><li>two</li></ul>
    <table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>x|y</td></tr></table>"""
    text = to_markdown(page(main), URL).text
    assert "## Part" in text
    assert "- one\n  * inner\n- two" in text
    assert "| a | b |\n| --- | --- |\n| 1 | x\\|y |" in text


@pytest.mark.parametrize(
    "block",
    [
        '<div class="language-python highlight"><pre><code>x = <span>1</span>\n</code></pre></div>',
        '<div class="highlight-python3 notranslate"><div class="highlight"><pre>x = 1\n</pre></div></div>',
        '<pre class="brush: python; gutter: false">x = 1</pre>',
        '<pre class="sourceCode python"><code>x = 1</code></pre>',
        '<pre data-lang="python"><code>x = 1</code></pre>',
        '<div class="highlight highlight-source-python"><pre>x = 1</pre></div>',
        NUMBERED,
    ],
)
def test_a_code_block_keeps_its_language_whatever_generator_wrote_it(block: str) -> None:
    assert "```python\nx = 1\n```" in to_markdown(page(f"<h1>T</h1>{block}"), URL).text


def test_relative_links_become_absolute_against_the_page() -> None:
    main = '<h1>T</h1><p><a href="../next/?a=1">n</a> <a href="#top">t</a> <img src="i.png" alt="I"></p>'
    text = to_markdown(page(main), URL).text
    assert "[n](https://docs.example.org/guide/next/?a=1)" in text
    assert "[t](https://docs.example.org/guide/start/#top)" in text
    assert "![I](https://docs.example.org/guide/start/i.png)" in text


def test_base_href_comes_before_the_pages_own_address() -> None:
    html = page('<h1>T</h1><a href="x">x</a>', head='<base href="/other/">')
    assert "[x](https://docs.example.org/other/x)" in to_markdown(html, URL).text


def test_links_stay_relative_when_nobody_knows_the_address() -> None:
    assert "[x](y)" in to_markdown(page('<h1>T</h1><a href="y">x</a>')).text


@pytest.mark.parametrize(
    "scheme", ["javascript:alert(1)", " Java\nScript:alert(1)", "data:text/html,x"]
)
def test_a_link_that_runs_code_keeps_its_text_only(scheme: str) -> None:
    text = to_markdown(page(f'<h1>T</h1><p>see <a href="{scheme}">this</a></p>'), URL).text
    assert text == "# T\n\nsee this\n"


@pytest.mark.parametrize(
    "heading",
    [
        '<h2 id="a">Part<a class="headerlink" href="#a" title="Permanent link">&para;</a></h2>',
        '<h2 id="a"><a href="#a">Part</a></h2>',
        '<h2 id="a">Part <a href="#a" aria-label="Permalink">&#8203;</a></h2>',
        '<h2 id="a">Part<a href="https://docs.example.org/guide/start/#a">#</a></h2>',
        '<h2 id="a">Part<span class="mw-editsection">[<a href="/edit">edit</a>]</span></h2>',
    ],
)
def test_permalinks_and_edit_marks_leave_the_heading_alone(heading: str) -> None:
    assert "\n## Part\n" in to_markdown(page(f"<h1>T</h1>{heading}<p>x</p>"), URL).text


def test_a_linked_card_keeps_its_heading() -> None:
    text = to_markdown(page('<h1>T</h1><a href="/c"><h3>Card</h3><p>What it is.</p></a>'), URL).text
    assert "### [Card](https://docs.example.org/c)" in text
    assert "What it is." in text


def test_hidden_text_is_dropped_but_a_tab_panel_one_click_away_stays() -> None:
    main = """<h1>T</h1><p hidden>secret</p><p style="display: none">secret</p>
    <p aria-hidden="true">secret</p><div role="tabpanel" hidden><p>second tab</p></div>"""
    text = to_markdown(page(main), URL).text
    assert "secret" not in text
    assert "second tab" in text


def test_images_are_kept_or_left_out_and_inline_data_never_stays() -> None:
    main = '<h1>T</h1><p>a <img src="/i.png" alt="I"> <img src="data:image/png;base64,AAAA" alt="D"> b</p>'
    assert "![I](https://docs.example.org/i.png)" in to_markdown(page(main), URL).text
    assert "base64" not in to_markdown(page(main), URL).text
    without = to_markdown(page(main), URL, ConversionSettings(preserve_images=False)).text
    assert "i.png" not in without


def test_a_lazy_image_shows_the_source_its_script_would_set() -> None:
    main = '<h1>T</h1><img data-src="/real.png" src="data:image/gif;base64,R0" alt="L">'
    assert "![L](https://docs.example.org/real.png)" in to_markdown(page(main), URL).text


def test_the_title_becomes_the_first_heading_only_where_none_is() -> None:
    bare = page("<p>Only text.</p>", title="Guide")
    assert to_markdown(bare, URL).text == "# Guide\n\nOnly text.\n"
    assert to_markdown(bare, URL, ConversionSettings(title_heading=False)).text == "Only text.\n"
    assert "Guide" not in to_markdown(page("<h1>T</h1><p>x</p>", title="Guide"), URL).text


def test_the_title_comes_without_the_sites_name() -> None:
    assert to_markdown(page("<h1>Start</h1>x", title="Start - The Site"), URL).title == "Start"
    head = '<meta property="og:site_name" content="The Site">'
    assert to_markdown(page("<p>x</p>", title="Go | The Site", head=head), URL).title == "Go"


def test_text_that_spells_a_tag_does_not_become_one() -> None:
    text = to_markdown(
        page("<h1>T</h1><p>a &lt;script&gt; in <code>&lt;b&gt;</code></p>"), URL
    ).text
    assert "a \\<script>" in text
    assert "`<b>`" in text


def test_a_form_around_the_whole_page_does_not_swallow_it() -> None:
    assert "Inside." in to_markdown("<body><form><h1>T</h1><p>Inside.</p></form></body>", URL).text


def test_a_layout_table_unfolds_and_a_data_table_stays_a_table() -> None:
    data = "<table><tr><td>1</td><td>2</td></tr></table>"
    main = f"<table><tr><td><h1>T</h1><p>Body.</p>{data}</td></tr></table>"
    text = to_markdown(f"<body>{main}</body>", URL).text
    assert "# T\n" in text
    assert "| 1 | 2 |" in text


def test_a_table_of_contents_goes_but_an_index_page_keeps_its_list() -> None:
    entries = "".join(f'<li><a href="/{n}">Chapter {n}</a></li>' for n in range(20))
    contents = f'<div class="toc"><ul>{entries}</ul></div>'
    prose = "<p>" + "Long explanation of the matter. " * 40 + "</p>"
    assert "Chapter 7" not in to_markdown(page(f"<h1>T</h1>{contents}{prose}"), URL).text
    assert "Chapter 7" in to_markdown(page(f"<h1>T</h1>{contents}"), URL).text


def test_the_sections_of_a_page_about_cookies_stay() -> None:
    main = '<h1>T</h1><section id="cookies"><h2>Cookies</h2><p>How to set one.</p></section>'
    assert "How to set one." in to_markdown(page(main), URL).text


def test_a_page_without_any_marks_is_cut_to_its_dense_part() -> None:
    links = "".join(f'<a href="/{n}">Menu entry {n}</a>' for n in range(10))
    prose = "".join(f"<p>{'Sentence after sentence of prose. ' * 12}</p>" for _ in range(5))
    html = f"<body><div>{links}</div><div><h1>T</h1>{prose}</div></body>"
    result = to_markdown(html, URL)
    assert result.found_by == "density"
    assert "Menu entry" not in result.text
    assert result.text.startswith("# T")


def test_several_articles_are_kept_together() -> None:
    html = f"<body><div>{'<article><h2>P</h2><p>Post text here.</p></article>' * 3}</div></body>"
    assert to_markdown(html, URL).text.count("Post text here.") == 3


def test_own_selectors_choose_and_drop() -> None:
    html = page('<h1>T</h1><div class="x"><p>Wanted</p><p class="ad">Ad</p></div>')
    settings = ConversionSettings(
        main_selectors=(".x",), drop_selectors=(".ad",), title_heading=False
    )
    assert to_markdown(html, URL, settings).text == "Wanted\n"


def test_the_whole_page_keeps_its_navigation_when_asked() -> None:
    text = to_markdown(page("<h1>T</h1>"), URL, ConversionSettings(main_content=False)).text
    assert "[Guide](https://docs.example.org/guide/)" in text
    assert "tracked" not in text


@pytest.mark.parametrize("attribute", ["hidden", "role=navigation"])
def test_a_page_whose_text_is_all_hidden_or_navigation_still_shows_it_with_structure(
    attribute: str,
) -> None:
    html = f"<body><div {attribute}><h2>All</h2><p>there is</p></div></body>"
    result = to_markdown(html, URL)
    assert (result.text, result.found_by) == ("## All\n\nthere is\n", "page")
