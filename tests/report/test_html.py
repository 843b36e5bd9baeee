"""The page without a browser: texts are escaped, all numbers are present, and equal tables give equal bytes."""

import csv
import re
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_wb.analysis.compare.compare_tables import compare_tables
from robustbench_wb.analysis.curves.corruption_errors import corruption_errors
from robustbench_wb.analysis.curves.strength_curves import strength_curves
from robustbench_wb.analysis.headline.make_headline import make_headline
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.html.field_tables import OMITTED_FIELDS
from robustbench_wb.report.html.headline_table import SHADES
from robustbench_wb.report.html.page import ReportContents, report_page
from robustbench_wb.report.html.score_matrix import score_matrix
from robustbench_wb.report.panel import panel_rows
from robustbench_wb.report.scores import interval_text, score_text, short_text
from robustbench_wb.report.text_block import printable
from robustbench_wb.spec import canonical_json
from robustbench_wb.store.loaded_table import load_table
from tests.report.big_sample import big_table
from tests.report.curve_sample import curve_run
from tests.report.layer_sample import looked, tables
from tests.report.sample import comparison, run, text_comparison, text_run
from tests.store.make import record, row, states

PUBLISHED = sorted((Path(__file__).resolve().parents[2] / "results" / "published").glob("*.csv"))
LIMIT = 5_000_000
VOID = {"meta", "br", "wbr", "img", "input", "link", "hr"}


class Page(HTMLParser):
    """Tags with attributes, texts, and the pairs of ids and links of a document."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.unclosed: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unclosed.append(tag)

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.texts.append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, found, value in self.attributes if found == name]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.texts).split())


def everything() -> ReportContents:
    """Contents of a page with every section."""
    rows, records = curve_run()
    seen = big_table(2, 2)
    layers = looked(seen, {row.variant: tables(at % 2) for at, row in enumerate(seen)})
    return ReportContents(
        name="v3",
        rows=[*run()[0], *text_run()[0], *rows, *layers],
        version=3,
        provenance={"committed": "2026-01-02", "git": {"commit": "abc", "dirty": True}},
        curves=strength_curves(rows, records),
        errors=corruption_errors(rows, records, "vit"),
        comparison=comparison(),
    )


@cache
def everything_page() -> str:
    """The page with every section, rendered once for all tests."""
    return report_page(everything())


HOSTILE = (
    *("</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</style><!--", "]]>", "{{ 7 * 7 }}"),
    *("' onload='x", "&lt;b&gt;", "\x1b[31m\x00", "</td></tr></table>", "<svg/onload=alert(1)>"),
)
ANY = st.text(max_size=40) | st.sampled_from(HOSTILE)


def page_of(variant: str, error: str, stressor: str, reason: str) -> Page:
    """Page of one row compared with itself under another key, with these texts in every text field."""
    check = {"name": reason, "grade": "C", "value": 1.0, "limit": 0.0, "samples": 1, "reason": reason}
    names = {
        "variant": variant,
        "stressor": stressor,
        "recipe": error,
        "error": error,
        "signature": reason,
        "task": reason,
    }
    trouble = {"checks": canonical_json([check]), "grade": "C", "status": "incomplete", "not_run": 1}
    made = row(record(states(5, 3))).model_copy(update={**names, **trouble})
    found = compare_tables([made], [made.model_copy(update={"key": "other"})], {})
    return Page(
        report_page(
            ReportContents(
                name=error, rows=[made], version=None, provenance={"command": error, variant: reason}, comparison=found
            )
        )
    )


@pytest.mark.slow(20)
@given(ANY, ANY, ANY, ANY)
@settings(max_examples=40, deadline=None)
def test_no_text_breaks_out_of_its_place(variant: str, error: str, stressor: str, reason: str) -> None:
    texts = (variant, error, stressor, reason)
    found = page_of(*texts)
    assert found.tags == page_of(*("x" * len(printable(text)) for text in texts)).tags  # long names stand elsewhere
    assert not found.unclosed
    assert all(printable(text) in found.words for text in texts)


def test_every_section_of_a_page_is_well_formed_and_its_links_lead_somewhere() -> None:
    found = Page(everything_page())
    assert not found.unclosed
    assert not found.open
    ids = found.values("id")
    assert not [name for name, count in Counter(ids).items() if count > 1]
    links = [value for tag, name, value in found.attributes if name == "href"]
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    assert {"changes", "curves", "credibility", "numbers", "provenance", "reading"} <= {link[1:] for link in links}
    named = [value for name in ("aria-labelledby", "aria-describedby") for value in found.values(name)]
    assert set(named) <= set(ids)


@pytest.mark.slow(2)
def test_nothing_is_loaded_from_anywhere() -> None:
    text = everything_page()
    found = Page(text)
    assert not [entry for entry in found.attributes if entry[1] == "src" and not entry[2].startswith("data:")]
    assert not {"link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in found.tags}
    assert not re.search(r"url\(|@import|https?:|fetch\(|XMLHttpRequest|import\(", text)
    assert not [name for _, name, _ in found.attributes if name.startswith("on") or name == "style"]


def test_headings_landmarks_and_tables_are_named() -> None:
    found = Page(everything_page())
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    tags = Counter(tag for tag, _ in found.tags)
    assert tags["table"] == tags["caption"]
    assert tags["main"] == tags["nav"] == tags["header"] == 1
    assert all("scope" in names for tag, names in found.tags if tag == "th")
    assert ("html", "lang", "en") in found.attributes


@pytest.mark.slow(1)
@pytest.mark.parametrize("table", PUBLISHED, ids=lambda path: path.stem)
def test_every_number_of_a_published_table_is_in_its_page(table: Path) -> None:
    side = load_table(str(table), "results")
    text = report_page(ReportContents(name=side.name, rows=side.rows))
    assert len(text.encode()) < LIMIT
    has_all_numbers(text, side.rows)
    lines = csv.DictReader(table.open(newline=""))
    fields = {value for line in lines for name, value in line.items() if name not in OMITTED_FIELDS}
    shown = set(Page(text).texts)
    assert {value for value in fields if value and value not in shown} == set()


def test_the_lead_has_an_interval_and_says_what_a_correction_decides() -> None:
    rows, records = [], {}
    for variant, lost in (("vit", 0), ("bilateral", 7), ("crate", 8), ("rope", 9)):
        made = record([1] * lost + [0] * (50 - lost), signature="pgd-linf;eps=8/255", weights=variant)
        records[made.key] = made
        rows.append(row(made, variant=variant))
    headline = make_headline(rows, records)
    words = Page(report_page(ReportContents(name="v1", rows=rows, headline=headline))).words
    assert "14.0 points [5.9, 26.2] ahead of bilateral; the difference from bilateral is not significant" in words
    assert "not significant after Holm's correction for 6 tests." in words


@pytest.mark.slow(4)
@pytest.mark.no_cover
def test_a_full_table_fits_in_one_page() -> None:
    rows = big_table()
    assert len(rows) == 2000
    text = report_page(ReportContents(name="v1", rows=rows, version=1))
    assert len(text.encode()) < LIMIT
    has_all_numbers(text, rows)


def has_all_numbers(text: str, rows: list[ScoreRow]) -> None:
    """Every row has a table row with all its fields, and a cell of the overview that links to it."""
    lines = dict(re.findall(r'<tr id="(r\d+)">(.*?)</tr>', text))
    cells = dict(re.findall(r'<td data-v="[^"]*"[^>]*><a href="#(r\d+)">(.*?)</td>', text))
    assert lines.keys() == cells.keys()
    overview = Counter(re.sub("<[^>]*>", " ", cell).split("  n ")[0].strip() for cell in cells.values())
    wanted = Counter(f"{short_text(r)}   {interval_text(r)}" + (f"   {r.grade}" if r.grade else "") for r in rows)
    assert Counter({re.sub(" +", " ", key): count for key, count in overview.items()}) == Counter(
        {re.sub(" +", " ", key): count for key, count in wanted.items()}
    )
    keys = {row.key: row for row in rows}
    for line in lines.values():
        values = re.findall("<td>(.*?)</td>", line)
        own = keys[next(value for value in values if value in keys)]
        assert values[:4] == [repr(own.accuracy), repr(own.low), repr(own.high), str(own.n)]


@pytest.mark.slow(3)
def test_the_same_contents_give_the_same_bytes() -> None:
    assert report_page(everything()) == everything_page()


def test_the_matrix_says_what_the_table_says() -> None:
    rows = [*run()[0], *text_run()[0]]
    words = Page(report_page(ReportContents(name="v3", rows=rows, version=3))).words
    for shown in rows:
        assert (short_text(shown) if shown.status != "ok" else score_text(shown)) in words
    assert words.count("not measured") > 0
    assert "12 not judged" in words


def test_shades_follow_the_numbers() -> None:
    shades: dict[str, dict[Any, Any]] = {name: {} for name in ("accuracy", "perplexity")}
    for panel in panel_rows([*run()[0], *text_run()[0]]):
        for line in score_matrix(panel).lines:
            own = {float(entry.sort): entry.shade for entry in line.entries if entry.sort}
            shades[panel.metric] |= own
            assert all(entry.shade is None for entry in line.entries if not entry.sort)
    assert all(shade == round(value / 10) for value, shade in shades["accuracy"].items())
    ordered = [shade for _, shade in sorted(shades["perplexity"].items())]
    assert ordered == sorted(ordered, reverse=True)
    assert {ordered[0], ordered[-1]} <= set(range(SHADES + 1))
    assert ordered[0] == SHADES


@pytest.mark.slow(2)
def test_doubts_failures_and_gaps_are_told() -> None:
    words = Page(everything_page()).words
    assert "apgd-linf leaves 11.4 points less" in words
    assert "no gradient of the margin at 48 of 64" in words
    assert "SubjectError: [bold]no logits[/bold] [31m" in words
    assert "crate-nano pgd-l2@1/2 SubjectError" in words
    assert "vit-nano pgd-linf@2/255" in words
    assert "git commit: abc, dirty: True" in words


@pytest.mark.parametrize("made", [comparison, text_comparison])
def test_what_changed_has_every_verdict_with_its_counts(made: Any) -> None:
    found = made()
    words = Page(
        report_page(ReportContents(name="v2", rows=[pair.new for pair in found.pairs], version=2, comparison=found))
    ).words
    for pair in found.pairs:
        assert pair.verdict in words
        if pair.lost:
            assert f"{pair.lost} {pair.gained}" in words


def test_an_empty_table_is_a_page_too() -> None:
    found = Page(report_page(ReportContents(name="empty.csv", rows=[])))
    assert not found.unclosed
    assert "0 numbers" in found.words
