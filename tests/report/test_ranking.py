"""Leaderboards as text, Markdown, CSV, JSON and HTML."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from rich.cells import cell_len

from robustbench_wb.analysis.leaderboard.panel_ranking import RankedModel
from robustbench_wb.analysis.leaderboard.rank_panels import rank_panels
from robustbench_wb.report.csv import RANKING_COLUMNS, ranking_csv
from robustbench_wb.report.html.leaderboard import leaderboard_page
from robustbench_wb.report.json import RANKING_SCHEMA, leaderboard_json, rows_json
from robustbench_wb.report.leaderboard import ranking_blocks
from robustbench_wb.report.markdown import markdown_text
from robustbench_wb.report.text_block import plain_text, rich_group
from tests.report.board_sample import board, board_run
from tests.report.test_html import ANY, Page
from tests.report.test_text import GOLDEN, shown

NAMES = ("ranking-plain-80", "ranking-plain-any", "ranking-rich-100", "ranking-markdown-any")


def rendered(name: str) -> str:
    _, how, width = name.split("-")
    columns = None if width == "any" else int(width)
    blocks = ranking_blocks(board()[1], columns)
    if how == "markdown":
        return markdown_text(blocks)
    return plain_text(blocks) if how == "plain" else shown(rich_group(blocks), columns or 1000)


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str) -> None:
    """To accept a change, delete the file under ``golden``, run once and read the new one."""
    file: Path = GOLDEN / f"{name}.txt"
    if not file.exists():
        file.write_text(rendered(name), encoding="utf-8")
        pytest.fail(f"{file.name} was missing and has been written")
    assert rendered(name) == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 100])
def test_tables_stay_within_the_width(width: int) -> None:
    assert all(block.width <= width for block in ranking_blocks(board()[1], width))
    assert max(cell_len(row[2]) for row in ranking_blocks(board()[1], width)[0].rows) <= width


def test_the_columns_of_the_export_are_public_and_read_back() -> None:
    expected = (
        *("task", "scale", "suite", "suite_version", "metric", "protocol", "tests"),
        *("variant", "size", "recipe", "seed", "rank", "rank_low", "rank_high", "group", "score", "low", "high"),
        *("worst_cell", "worst", "clean", "grade", "counted", "cells", "n"),
        *("parameters", "flops", "train_seconds", "forwards", "backwards", "peak_memory", "signature", "reason"),
        *("headline", "headline_low", "headline_high", "headline_grade", "headline_column", "headline_numbers"),
    )
    assert expected == RANKING_COLUMNS
    found = board()[1]
    lines = list(csv.DictReader(io.StringIO(ranking_csv(found), newline="")))
    given_lines = [(ranking, line) for ranking in found for line in ranking.lines]
    for text, (ranking, line) in zip(lines, given_lines, strict=True):
        assert (text["task"], text["tests"]) == (ranking.task, str(ranking.tests))
        back = {name: text[name] or None for name in RankedModel.model_fields if name not in ("n", "size", "recipe")}
        optional = {name for name, known in RankedModel.model_fields.items() if known.default in (None, "")}
        fields = {name: value for name, value in back.items() if value is not None or name not in optional}
        n = tuple(map(int, text["n"].split()))
        assert RankedModel.model_validate({**fields, "n": n, "size": text["size"], "recipe": text["recipe"]}) == line


def test_json_has_the_rows_as_before_and_the_rankings() -> None:
    rows, found = board()
    content = json.loads(leaderboard_json(rows, found, 3))
    rankings, schema = content.pop("rankings"), content.pop("ranking_schema")
    assert content == json.loads(rows_json(rows, 3))
    assert schema == RANKING_SCHEMA
    assert [len(one["lines"]) for one in rankings] == [4, 2, 2]
    assert rankings[0]["lines"][0]["variant"] == "gone"
    assert rankings[0]["headline"]["columns"][rankings[0]["headline"]["main"]]["name"] == "Linf 8/255"


def test_the_page_is_well_formed_and_its_links_lead_somewhere() -> None:
    rows, found = board()
    text = leaderboard_page("v3", rows, found, 3)
    assert text == leaderboard_page("v3", rows, found, 3)
    seen = Page(text)
    assert not seen.unclosed
    assert not seen.open
    ids = seen.values("id")
    assert len(ids) == len(set(ids))
    links = seen.values("href")
    assert links
    assert {link[1:] for link in links} <= set(ids)
    assert not seen.values("src")
    assert all(line.signature in seen.words for ranking in found for line in ranking.lines)


@given(ANY)
@settings(max_examples=15, deadline=None)
def test_no_text_breaks_out_of_its_place(hostile: str) -> None:
    def tags(name: str) -> list[tuple[str, tuple[str, ...]]]:
        rows, records = board_run()
        own = [row.model_copy(update={"variant": name, "grade": ""}) for row in rows if row.variant == "crate"]
        return Page(leaderboard_page(name, own, rank_panels(own, records))).tags

    assert tags(hostile) == tags("harmless")
