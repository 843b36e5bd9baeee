import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pydantic import ValidationError

from robustbench_wb.errors import StoreError
from robustbench_wb.records.score_row import ScoreRow, read_rows
from robustbench_wb.report.csv import rows_csv
from robustbench_wb.store import score_table
from robustbench_wb.store.location import KEEP_HISTORY, create_table
from robustbench_wb.store.score_table import SCHEMA, ScoreTable
from tests.store.make import record, row, scored, states, text_row
from tests.store.test_records import start


def test_the_first_run_is_v1_and_delta_version_1(tmp_path: Path) -> None:
    table = ScoreTable(str(tmp_path))
    rows = [row(), row(record(states(3, 1), seed=1), variant="crate", error='one, "odd"\nline')]
    assert table.commit(rows, {"command": "run", "seed": 0}) == 1
    assert DeltaTable(table.uri, version=0).to_pyarrow_table().num_rows == 0
    content = DeltaTable(str(tmp_path / "scores"), version=1).to_pandas()
    assert table.rows("v1") == rows == [ScoreRow.model_validate(r) for r in content.to_dict("records")]
    assert table.rows() == table.rows(1) == table.rows("1") == rows


def test_upsert_replaces_the_slot_and_keeps_the_other_rows_in_place(tmp_path: Path) -> None:
    table = ScoreTable(str(tmp_path))
    table.commit([row(variant="vit"), row(variant="crate")], {})
    better = row(record(states(4, 0)), variant="vit")
    assert table.commit([row(variant="bert"), better], {}) == 2
    assert table.rows() == [better, row(variant="crate"), row(variant="bert")]
    assert table.rows("v1") == [row(variant="vit"), row(variant="crate")]


@pytest.mark.parametrize(
    "change", ["task", "variant", "size", "recipe", "scale", "suite", "stressor", "strength", "seed"]
)
def test_every_part_of_the_slot_counts(tmp_path: Path, change: str) -> None:
    table = ScoreTable(str(tmp_path))
    table.commit([row()], {})
    names: dict[str, Any] = {change: 7 if change == "seed" else "other"}
    table.commit([row(**names)], {})
    assert len(table.rows()) == 2


def test_versions_carry_time_and_provenance(tmp_path: Path) -> None:
    table = ScoreTable(str(tmp_path))
    given: list[dict[str, Any]] = [
        {"command": "first", "git": None, "packages": {"torch": "2"}},
        {"command": 'sécond "x"'},
    ]
    for provenance in given:
        table.commit([row()], provenance)
    versions = table.versions()
    assert [(v.number, v.provenance) for v in versions] == [(1, given[0]), (2, given[1])]
    assert all(abs((datetime.now(UTC) - v.time).total_seconds()) < 60 for v in versions)


def test_a_version_has_many_names(tmp_path: Path) -> None:
    table = ScoreTable(str(tmp_path))
    for variant in ("vit", "crate", "bert"):
        table.commit([row(variant=variant)], {})
    assert {table.version(name) for name in (None, 3, "3", "v3", "HEAD", "HEAD~0", "latest")} == {3}
    assert {table.version(name) for name in (1, "v1", "HEAD~2")} == {1}
    assert [found.variant for found in table.rows("HEAD~1")] == ["vit", "crate"]


@pytest.mark.parametrize("version", ["v3", 3, 0, "v0", -1, "HEAD~2", "HEAD~", "head", "", "v-1", "²"])
def test_an_unknown_version_names_what_exists(tmp_path: Path, version: str | int) -> None:
    table = ScoreTable(str(tmp_path))
    for _ in range(2):
        table.commit([row()], {})
    for ask in (table.rows, table.version):
        with pytest.raises(StoreError, match="there is v1 to v2") as caught:
            ask(version)
        assert "\n" not in str(caught.value)


def test_no_results_yet(tmp_path: Path) -> None:
    table = ScoreTable(str(tmp_path / "never"))
    for ask in (table.rows, table.versions, table.version):
        with pytest.raises(StoreError, match=r"no results under .* yet; run `robustbench-wb run"):
            ask()
    assert not (tmp_path / "never").exists()


def test_history_is_kept_beyond_deltas_own_limit(tmp_path: Path) -> None:
    table = ScoreTable(str(tmp_path))
    table.commit([row()], {})
    configuration = DeltaTable(table.uri).metadata().configuration
    assert configuration["delta.enableExpiredLogCleanup"] == "false"


@pytest.mark.slow(6)
def test_two_processes_lose_no_row_and_every_run_is_one_version(tmp_path: Path) -> None:
    workers = [start("commit", tmp_path, name, "8") for name in ("vit", "crate")]
    for worker in workers:
        worker.communicate()
    assert [worker.returncode for worker in workers] == [0, 0]
    table = ScoreTable(str(tmp_path))
    assert sorted((r.variant, r.seed) for r in table.rows()) == [(n, s) for n in ("crate", "vit") for s in range(8)]
    assert [v.number for v in table.versions()] == list(range(1, 17))
    assert [len(table.rows(number)) for number in range(1, 17)] == list(range(1, 17))


def test_a_row_holds_no_nan() -> None:
    with pytest.raises(ValidationError):
        ScoreRow.model_validate({**row().model_dump(), "seconds": float("nan")})


# Columns of tables before rows had a metric.
FIRST_COLUMNS = (
    *("suite", "suite_version", "scale", "task", "variant", "size", "recipe", "stressor", "strength", "signature"),
    *("seed", "n", "accuracy", "low", "high", "accuracy_high", "robust", "broken", "wrong", "errored", "not_run"),
    *("status", "error", "wobble", "forwards", "backwards", "seconds", "parameters", "train_seconds", "weights"),
    *("data", "samples", "stressor_code", "model_code", "numerics", "ladder", "key"),
)


def test_a_table_without_the_columns_of_perplexity_is_read_and_goes_on(tmp_path: Path) -> None:
    table, old = (
        ScoreTable(str(tmp_path)),
        row(variant="vit").model_copy(update={"checksum": "", "flops": 0, "peak_memory": 0}),
    )
    schema = pa.schema([SCHEMA.field(name) for name in FIRST_COLUMNS])
    create_table(table.uri, schema, KEEP_HISTORY)
    content = pa.Table.from_pylist([old.model_dump(include=set(FIRST_COLUMNS))], schema=schema)
    write_deltalake(table.uri, content, mode="overwrite")
    assert table.rows() == [old]
    assert (old.metric, old.perplexity) == ("accuracy", None)
    new = [text_row(scored([3.0, 4.0])), text_row(None, 4, "no subject", variant="crate"), row(variant="vit", seed=1)]
    assert table.commit(new, {}) == 2
    assert table.rows() == [old, *new]
    assert table.rows("v1") == [old]
    assert DeltaTable(table.uri).schema().to_arrow().names == SCHEMA.names
    assert DeltaTable(table.uri).metadata().configuration == KEEP_HISTORY


def test_a_published_table_reads_and_so_does_one_of_the_first_columns() -> None:
    published = Path(__file__).parents[2] / "results" / "published" / "adversarial-digits-smoke.csv"
    with published.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    rows = [ScoreRow.model_validate(line) for line in lines]
    assert len(rows) == 110
    assert {row.grade for row in rows} == {"", "A", "B", "C"}
    names = list(lines[0])
    first = names[: names.index("key") + 1]  # columns of the first tables
    early = [ScoreRow.model_validate({name: line[name] for name in first}) for line in lines]
    assert [(row.accuracy, row.key) for row in early] == [(row.accuracy, row.key) for row in rows]


@pytest.mark.parametrize(
    "failed", [row(record([3, 3])), row(record([3, 3]), error="boom"), text_row(None, 2, "no model")]
)
def test_a_failed_row_has_no_number_but_in_the_file(failed: ScoreRow, tmp_path: Path) -> None:
    """Tables hold bounds, as those of earlier releases do."""
    numbers = ("accuracy", "low", "high", "accuracy_high", "perplexity", "perplexity_low")
    ScoreTable(str(tmp_path)).commit([failed], {})
    (read,) = ScoreTable(str(tmp_path)).rows()
    assert read == failed
    assert {getattr(read, name) for name in numbers} == {None}
    assert read.checksum == read.computed_checksum
    (stored,) = DeltaTable(str(tmp_path / "scores")).to_pyarrow_table().to_pylist()
    bounds = (None, None, None, None, None, 1) if failed.metric == "perplexity" else (0, 0, 1, 1, None, None)
    assert tuple(stored[name] for name in numbers) == bounds
    (shown,) = csv.DictReader(rows_csv([read]).splitlines())
    assert {shown[name] for name in numbers} == {""}
    assert read_rows([shown], "rows") == [failed]
    assert read_rows([{**shown, **{name: stored[name] for name in numbers}}], "rows") == [failed]
    (edited,) = read_rows(
        [{**stored, "perplexity_low": 2.0} if stored["perplexity_low"] else {**stored, "high": 0.5}], "rows"
    )
    assert edited.checksum != edited.computed_checksum


def test_perplexities_come_back_as_they_were(tmp_path: Path) -> None:
    table = ScoreTable(str(tmp_path))
    rows = [row(), text_row(scored([3.0, 4.0, 3.5])), text_row(scored([3.0]), variant="crate")]
    table.commit(rows, {})
    assert table.rows() == rows
    frame = DeltaTable(table.uri).to_pandas()
    assert [ScoreRow.model_validate(entry) for entry in frame.to_dict("records")] == rows


@pytest.mark.parametrize("before", [0, 1])
def test_a_run_that_is_overtaken_reads_again(tmp_path: Path, before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other runs commit right after this one has read, before it writes."""
    others = ["bert", "crate"]

    def overtaken(lines: list[dict[str, Any]], what: str) -> list[ScoreRow]:
        found = read_rows(lines, what)
        if others:
            with monkeypatch.context() as patch:
                patch.setattr(score_table, "read_rows", read_rows)
                ScoreTable(str(tmp_path)).commit([row(variant=others.pop())], {})
        return found

    for seed in range(before):
        ScoreTable(str(tmp_path)).commit([row(seed=seed + 1)], {})
    monkeypatch.setattr(score_table, "read_rows", overtaken)
    assert ScoreTable(str(tmp_path)).commit([row()], {}) == before + 3
    found = ScoreTable(str(tmp_path)).rows()
    assert len(found) == before + 3
    assert {r.variant for r in found} == {"vit", "crate", "bert"}
