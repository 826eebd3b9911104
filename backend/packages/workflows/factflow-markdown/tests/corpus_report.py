"""How much of what the corpus expects do we keep, beside the bare libraries?

Run as a program it prints the table; the corpus test asserts on the same numbers. Three ways are
measured: `ours`; `raw`, html-to-markdown on the whole page; `naive`, html-to-markdown on the first
`main`, `article` or `[role=main]` that selectolax finds.
"""

from __future__ import annotations

import html as html_module
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

from html_to_markdown import ConversionOptions, convert
from markdown_it import MarkdownIt
from markdown_it.token import Token
from selectolax.lexbor import LexborHTMLParser

from factflow_markdown.markdown_conversion import ConversionSettings, to_markdown

Converter = Callable[[str, str], str]
SITE = "https://www.django-rest-framework.org/"
_COMMONMARK = MarkdownIt("commonmark").enable("table").enable("strikethrough")
_BY_CHOICE = re.compile(
    r"p  |a \S+ |\w+ .*(?:Introduction #|🔗 Introduction)|a #intro .*|\w+ .*Heading [2A] Heading [5B]"
)
"""Golden blocks that hold what we take out (empty links, permalinks) or make a heading (linked headings)."""
_BLOCKS = "h1,h2,h3,h4,h5,h6,p,li,pre,td,th,blockquote,hr,img,a"


def corpus_root() -> Path | None:
    """Return the corpus folder, None when this machine has none."""
    named = os.environ.get("FACTFLOW_CORPUS")
    root = Path(named) if named else Path(__file__).parents[6] / "shared" / "corpus"
    return root if root.is_dir() else None


def ours(html: str, url: str) -> str:
    return to_markdown(html, url).text


def ours_without_title(html: str, url: str) -> str:
    """For expectations that hold the title apart from the text."""
    return to_markdown(html, url, ConversionSettings(title_heading=False)).text


def ours_whole(html: str, url: str) -> str:
    return to_markdown(html, url, ConversionSettings(main_content=False)).text


def raw(html: str, url: str) -> str:
    return convert(html, ConversionOptions(extract_metadata=False)).content or ""


def naive(html: str, url: str) -> str:
    tree = LexborHTMLParser(html)
    node = tree.css_first("main,article,[role=main]") or tree.body
    return raw((node.html if node else "") or "", url)


WAYS: dict[str, Converter] = {"ours": ours, "raw": raw, "naive": naive}
READABLE_WAYS: dict[str, Converter] = {"ours": ours_without_title, "raw": raw, "naive": naive}
FRAGMENT_WAYS: dict[str, Converter] = {"ours": ours_whole, "raw": raw, "naive": naive}


@dataclass
class Score:
    """Expectations met, of how many, and some of those that were not."""

    met: float = 0.0
    total: int = 0
    missed: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.met / self.total if self.total else 1.0

    def add(self, met: float, total: int, missed: Iterable[str] = ()) -> None:
        self.met += met
        self.total += total
        self.missed += missed


Report = dict[str, dict[str, Score]]


def squeeze(text: str) -> str:
    return " ".join(text.split())


def _mark(text: str) -> str:
    """Make text comparable: typographic variants and blanks do not count."""
    table = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "…": "..."})
    return squeeze(html_module.unescape(text).translate(table)).replace("...", "…")


def inline_text(token: Token) -> str:
    """Return the text a reader sees of an inline token."""
    parts: list[str] = []
    for child in token.children or []:
        if child.type == "image":
            parts.append(child.content)
        elif child.type in {"softbreak", "hardbreak"}:
            parts.append(" ")
        elif child.type == "html_inline":
            continue
        else:
            parts.append(child.content)
    return _mark("".join(parts))


def structure(markdown: str) -> dict[str, Counter[str]]:
    """Return the headings, code blocks and link texts of a markdown text."""
    found: dict[str, Counter[str]] = {"headings": Counter(), "code": Counter(), "links": Counter()}
    tokens = _COMMONMARK.parse(markdown)
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            text = inline_text(tokens[index + 1])
            found["headings"][f"{token.tag} {text}"] += 1
        elif token.type in {"fence", "code_block"}:
            found["code"][squeeze(token.content)] += 1
        elif token.type == "inline":
            found["links"].update(_link_texts(token))
    return found


def _link_texts(token: Token) -> Iterable[str]:
    inside: list[Token] | None = None
    for child in token.children or []:
        if child.type == "link_open":
            inside = []
        elif child.type == "link_close" and inside is not None:
            text = inline_text(Token("inline", "", 0, children=inside))
            inside = None
            if text:
                yield text
        elif inside is not None:
            inside.append(child)


def author_markdown(text: str) -> str:
    """Turn MkDocs' own blocks (admonitions, snippets, front matter) into plain markdown."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if re.match(r"!!! |\?\?\?\+? |=== ", line):
            inside = True
            lines.append("")
        elif inside and line.startswith("    "):
            lines.append(line[4:])
        elif inside and not line.strip():
            lines.append("")
        else:
            inside = False
            lines.append(line)
    return "\n".join(lines)


def site_report(corpus: Path) -> Report:
    """Share of the authors' headings, code blocks and link texts that our markdown has; and F1 of all
    words, which falls with every line of navigation that stays."""
    report: Report = {
        f"site-a {kind}": {way: Score() for way in WAYS}
        for kind in ("headings", "code", "links", "words")
    }
    for entry in json.loads((corpus / "site-a/manifest.json").read_text()):
        if "source_md" not in entry:
            continue
        page = (corpus / "site-a" / entry["file"]).read_text()
        author = author_markdown((corpus / "site-a" / entry["source_md"]).read_text())
        source = structure(author)
        text = words(rendered_text(author))
        for way, converter in WAYS.items():
            markdown = converter(page, urljoin(SITE, entry["url_path"]))
            result = structure(markdown)
            share = overlap(text, words(rendered_text(markdown)))
            low = [f"{entry['url_path']}: {share:.3f}"] if share < 0.95 else []
            report["site-a words"][way].add(share, 1, low)
            for kind, wanted in source.items():
                missing = wanted - result[kind]
                total = wanted.total()
                report[f"site-a {kind}"][way].add(
                    total - missing.total(),
                    total,
                    (f"{entry['url_path']}: {one[:120]}" for one in missing),
                )
    return report


def rendered_blocks(markdown: str) -> Counter[str]:
    """Return the blocks a markdown text renders to, each as tag and text."""
    tree = LexborHTMLParser(_COMMONMARK.render(markdown))
    blocks: Counter[str] = Counter()
    for node in tree.css(_BLOCKS):
        target = node.attributes.get("href") or node.attributes.get("src") or ""
        blocks[f"{node.tag} {target} {_mark(node.text())}"] += 1
    return blocks


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", _mark(text).casefold()))


def rendered_text(markdown: str) -> str:
    tree = LexborHTMLParser(_COMMONMARK.render(markdown))
    return _mark(tree.body.text(separator=" ")) if tree.body else ""


def overlap(expected: Counter[str], found: Counter[str]) -> float:
    """Return the F1 measure of two bags of words."""
    common = (expected & found).total()
    return 2 * common / max(1, expected.total() + found.total())


def _golden(folder: Path, markdown: str, score: Score) -> None:
    golden = rendered_blocks((folder / "expected.md").read_text())
    wanted = Counter({block: n for block, n in golden.items() if not _BY_CHOICE.fullmatch(block)})
    missing = wanted - rendered_blocks(markdown)
    score.add(
        wanted.total() - missing.total(),
        wanted.total(),
        (f"{folder.name}: {one[:100]}" for one in missing),
    )


def _readable(folder: Path, markdown: str, score: Score) -> None:
    tree = LexborHTMLParser((folder / "expected.html").read_text())
    expected = words(tree.body.text(separator=" ") if tree.body else "")
    share = overlap(expected, words(rendered_text(markdown)))
    score.add(share, 1, [f"{folder.name}: {share:.3f}"] if share < 0.95 else [])


def _strings(
    folder: Path, markdown: str, score: Score, wanted: list[str], unwanted: list[str]
) -> None:
    text = rendered_text(markdown)
    missed = [one for one in wanted if _mark(one) not in text]
    missed += [f"(not wanted) {one}" for one in unwanted if _mark(one) in text]
    total = len(wanted) + len(unwanted)
    score.add(total - len(missed), total, (f"{folder.name}: {one[:100]}" for one in missed))


def page_report(corpus: Path) -> Report:
    """Golden markdown (jk), readable text as F1 of words (rd), strings in and out (tf, mi)."""
    report: Report = {
        f"pages {kind}": {way: Score() for way in WAYS} for kind in ("jk", "rd", "tf", "mi")
    }
    for case in json.loads((corpus / "html/cases.json").read_text()):
        folder = corpus / "html" / case["dir"]
        kind = case["id"][:2]
        ways = {"jk": FRAGMENT_WAYS, "rd": READABLE_WAYS}
        page = (folder / "source.html").read_text()
        for way, converter in ways.get(kind, WAYS).items():
            score = report[f"pages {kind}"][way]
            markdown = converter(page, "")
            if kind == "jk":
                _golden(folder, markdown, score)
            elif kind == "rd":
                _readable(folder, markdown, score)
            elif kind == "tf":
                parts = json.loads((folder / "expected-segments.json").read_text())
                _strings(folder, markdown, score, parts["with"], parts["without"])
            else:
                parts = json.loads((folder / "expected-strings.json").read_text())
                _strings(folder, markdown, score, parts["must_include"], parts["must_not_include"])
    return report


def rendered(markdown: str) -> str:
    """Return a markdown text as HTML without what dialects differ in: blanks, paragraphs in items."""
    text = re.sub(r"<(/?)p>", " ", _COMMONMARK.render(markdown))
    text = re.sub(r" (?:class|start|title)=\"[^\"]*\"", "", text)
    return squeeze(
        re.sub(r"\s*(</?(?:li|ul|ol|h\d|pre|blockquote|t\w+|hr)\b[^>]*>)\s*", r" \1 ", text)
    )


def snippet_report(corpus: Path) -> Report:
    """Share of snippets that render as the other converters' expected markdown does."""
    report: Report = {}
    for path in sorted((corpus / "html/snippets").glob("*.json")):
        suite = path.stem.partition("-")[0]
        scores = report[f"snippets {suite}"] = {way: Score() for way in WAYS}
        for case in json.loads(path.read_text())["cases"]:
            for way, converter in FRAGMENT_WAYS.items():
                markdown = converter(case["html"], "")
                if "expected_text" in case:
                    met = words(case["expected_text"].replace("•", "")) == words(
                        rendered_text(markdown)
                    )
                else:
                    met = rendered(case["expected_markdown"]) == rendered(markdown)
                scores[way].add(met, 1, [] if met else [f"{case['html']!r} -> {markdown!r}"])
    return report


def full_report(corpus: Path) -> Report:
    return {**site_report(corpus), **page_report(corpus), **snippet_report(corpus)}


def main() -> int:
    corpus = corpus_root()
    if corpus is None:
        sys.stderr.write("no corpus: name its folder in FACTFLOW_CORPUS\n")
        return 2
    report = full_report(corpus)
    out = [f"{'':22}{'of':>6}" + "".join(f"{way:>9}" for way in WAYS)]
    for name, scores in report.items():
        out.append(
            f"{name:22}{scores['ours'].total:6}"
            + "".join(f"{scores[way].share:9.3f}" for way in WAYS)
        )
    if "--missed" in sys.argv:
        for name, scores in report.items():
            out += ["", f"{name}, not met by ours:", *(f"  {one}" for one in scores["ours"].missed)]
    sys.stdout.write("\n".join(out) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
