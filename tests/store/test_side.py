"""Arguments of `diff`: names of versions, other folders, and files that `leaderboard` wrote."""

from collections.abc import Callable
from pathlib import Path

import pytest

from robustbench_wb.errors import StoreError
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.csv import rows_csv
from robustbench_wb.report.json import rows_json
from robustbench_wb.store.loaded_table import load_table
from robustbench_wb.store.score_table import ScoreTable
from tests.report.sample import run, text_run
from tests.store.make import row

ROWS = [*run()[0], *text_run()[0], row(variant="=odd", error="-1 and\n'two'")]


@pytest.fixture
def results(tmp_path: Path) -> str:
    """Results folder with three versions; the last one has all rows."""
    table = ScoreTable(str(tmp_path / "results"))
    for rows in ([row(variant="a")], [row(variant="b")], ROWS):
        table.commit(rows, {})
    return table.location


@pytest.mark.parametrize(
    ("reference", "name", "rows"),
    [
        ("v1", "v1", 1),
        ("2", "v2", 2),
        ("HEAD", "v3", 2 + len(ROWS)),
        ("HEAD~1", "v2", 2),
        ("latest", "v3", 2 + len(ROWS)),
    ],
)
def test_versions(results: str, reference: str, name: str, rows: int) -> None:
    side = load_table(reference, results)
    assert (side.name, len(side.rows), side.location) == (name, rows, results)


def test_other_places(results: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = {
        "results": ("results:v3", 2 + len(ROWS), "results"),
        "results:v1": ("results:v1", 1, "results"),
        "./results:HEAD~1": ("./results:v2", 2, "./results"),
        f"{results}:2": (f"{results}:v2", 2, results),
    }
    sides = {reference: load_table(reference, "own") for reference in expected}
    assert {name: (side.name, len(side.rows), side.location) for name, side in sides.items()} == expected


@pytest.mark.parametrize(("ending", "write"), [("csv", rows_csv), ("JSON", rows_json)])
def test_files_come_back_as_they_were(ending: str, write: Callable[[list[ScoreRow]], str], tmp_path: Path) -> None:
    path = tmp_path / f"board.{ending}"
    path.write_bytes(write(ROWS).encode())
    side = load_table(str(path), "own")
    assert (side.rows, side.location, side.name) == (ROWS, "own", str(path))


def test_the_published_table_is_a_side() -> None:
    published = Path(__file__).parents[2] / "results" / "published" / "adversarial-digits-smoke.csv"
    assert len(load_table(str(published), "own").rows) == 110


@pytest.mark.parametrize(
    ("reference", "content", "words"),
    [
        ("v4", None, "there is v1 to v3"),
        ("HEAD~3", None, "there is v1 to v3"),
        ("nowhere", None, "neither a version like v3 or HEAD~1, nor a results folder"),
        ("nowhere:v1", None, "'nowhere:v1' is neither a version"),
        ("board.csv", None, "cannot be read"),
        ("board.csv", "a,b\r\n1,2\r\n", "do not fit this release (a, accuracy"),
        ("board.csv", "suite,task\r\n1\r\n", "is not a table that `leaderboard` wrote"),
        ("board.csv", b"\xff\xfe", "it is not text"),
        ("board.json", "{", "is not a table that `leaderboard` wrote"),
        ("board.json", '{"rows": 3}', "is not a table that `leaderboard` wrote"),
        ("board.json", "[]", "is not a table that `leaderboard` wrote"),
        ("board.json", '{"rows": [3]}', "do not fit this release"),
    ],
)
def test_a_mistake_is_one_clear_line(
    reference: str,
    content: str | bytes | None,
    words: str,
    results: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / reference).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(StoreError) as caught:
        load_table(reference, results)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", b"", "has no rows"),
        ("a.csv", b"suite,variant\r\n", "has no rows"),
        ("a.json", b'{"rows": [], "schema": 9}', "has no rows"),
        ("a.json", b"[" * 100_000, "is not a table"),
        ("a.json", b'{"rows": [], "schema": 1' + b"0" * 5_000 + b"}", "is not a table"),
        ("a.csv", "suite,\xe4".encode("utf-16"), "not text in UTF-8 but UTF-16; save it as UTF-8"),
        ("a.csv", "suite,\xe4".encode("latin-1"), "not text in UTF-8 but in another encoding"),
        ("a.csv", rows_csv([row()]).replace(",", ";").encode("utf-8-sig"), "separates its columns by semicolons; save"),
        ("a.csv", b"sep=;\n" + rows_csv([row()]).replace(",", ";").encode(), "by semicolons; save it with commas"),
        ("a.csv", rows_csv([row()]).replace(",", "\t").encode(), "separates its columns by tabs; save it with commas"),
        ("a.parquet", b"PAR1" + bytes(100), "is not a baseline file"),
    ],
)
def test_files_that_are_no_table_are_refused_by_name(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match=reason) as raised:
        load_table(str(tmp_path / name), "results")
    assert name in str(raised.value)


def test_a_byte_order_mark_is_no_part_of_a_table(tmp_path: Path) -> None:
    text = rows_csv([row()])
    (tmp_path / "a.csv").write_text("\ufeff" + text, newline="", encoding="utf-8")
    assert load_table(str(tmp_path / "a.csv"), "results").rows == [row()]
