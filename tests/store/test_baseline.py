"""Baseline files: round trip, equal bytes for equal content, and rejection of altered files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robustbench_wb.errors import HarnessError, MeasurementError, StoreError, UsageError
from robustbench_wb.store.baseline import Baseline, baseline_path, make_baseline, read_baseline, write_baseline
from robustbench_wb.store.loaded_table import find_records, load_table
from tests.store.make import flip_outcome, record, row, scored, states, text_row

GIVEN = {"time": "2026-01-02T03:04:05+00:00", "git": {"commit": "abc", "dirty": False}}


def version(
    lost: int = 0, weights: str = "old", *more: str, source: str = "v1", parent: Baseline | None = None
) -> Baseline:
    """Make a baseline with an accuracy row, a perplexity row, and a row for each name in ``more``."""
    made = record(states(1000 - lost, lost), weights=weights)
    text = scored((3.0 + np.random.default_rng(lost).random(50)).tolist(), weights=weights)
    text = replace(text, evidence={"counted": 40.0, "predicted": 50.0})
    others = {name: record(states(1000, 0), weights=weights, signature=name) for name in more}
    rows = [row(made), text_row(text), *(row(one, stressor=name) for name, one in others.items())]
    records = {one.key: one for one in (made, text, *others.values())}
    return make_baseline(name="main", source=source, rows=rows, records=records, provenance=GIVEN, parent=parent)


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    made = version(30)
    write_baseline(tmp_path / "new" / "main.parquet", made)
    found = read_baseline(tmp_path / "new" / "main.parquet")
    assert (found.header, found.rows, list(found.pinned)) == (made.header, made.rows, [])
    assert found.digest == made.digest
    for key, given in made.records.items():
        back = found.records[key]
        assert (back.key, back.evidence, back.wobble) == (key, given.evidence, given.wobble)
        np.testing.assert_array_equal(back.ids, given.ids)
        np.testing.assert_array_equal(back.states, given.states)
    text = made.rows[1].key
    np.testing.assert_array_equal(found.records[text].token_losses, made.records[text].token_losses)
    assert np.isnan(found.records[made.rows[0].key].losses).all()


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_baseline(tmp_path / f"{name}.parquet", version(30))
    write_baseline(tmp_path / "c.parquet", read_baseline(tmp_path / "a.parquet"))
    first, second, again = ((tmp_path / f"{name}.parquet").read_bytes() for name in "abc")
    assert first == second == again
    assert version(30).digest != version(31).digest


def test_other_programs_read_it_and_it_is_small(tmp_path: Path) -> None:
    made = record(np.random.default_rng(0).integers(0, 2, 10_000).tolist())
    plain = make_baseline(name="main", source="v1", rows=[row(made)], records={made.key: made}, provenance={})
    write_baseline(tmp_path / "main.parquet", plain)
    table = pd.read_parquet(tmp_path / "main.parquet")
    assert table["accuracy"][0] == plain.rows[0].accuracy
    np.testing.assert_array_equal(table["states"][0], made.states)
    # Random outcomes need one bit per sample; the rest is what Parquet writes about each column.
    assert (tmp_path / "main.parquet").stat().st_size < 10_000 / 8 + 250 * len(table.columns)


def test_a_chain_remembers_every_ancestor_and_keeps_the_first_outcomes() -> None:
    first = version(10)
    second = version(20, "newer", "late", source="v2", parent=first)
    third = version(30, "newest", "late", source="v3", parent=second)
    assert [ancestor.sha256 for ancestor in third.header.ancestors] == [first.digest, second.digest]
    assert [(one.source, one.commit, one.cells) for one in third.header.ancestors] == [
        ("v1", "abc", 2),
        ("v2", "abc", 3),
    ]
    assert third.header.ancestors[0].means == {"adversarial": 0.99}
    # A cell that was added later is pinned to the baseline that added it.
    assert [pinned.key for pinned in third.pinned] == [*(one.key for one in first.rows), second.rows[2].key]
    assert third.records.keys() == {one.key for one in (*third.rows, *third.pinned)}


def test_a_baseline_is_a_side_with_its_own_records(tmp_path: Path) -> None:
    made = version(30)
    path = tmp_path / "main.parquet"
    write_baseline(path, made)
    side = load_table(str(path), str(tmp_path / "nowhere"))
    assert side.rows == made.rows
    assert find_records((side,), made.records, str(tmp_path / "nowhere")).keys() == made.records.keys()


def test_what_failed_is_no_baseline() -> None:
    whole, failed = record(states(9, 1)), row(None, 10, "no subject", stressor="fgsm-linf")
    for rows, records in (([row(whole), failed], {whole.key: whole}), ([row(whole)], {}), ([], {})):
        with pytest.raises(MeasurementError, match="v1 cannot be a baseline"):
            make_baseline(name="main", source="v1", rows=rows, records=records, provenance={})


def edited(path: Path) -> None:
    """Edit a column and write a valid Parquet file."""
    table = pq.read_table(path)
    column = table.schema.get_field_index("seconds")
    values = pa.array([value + 1 for value in table["seconds"].to_pylist()])
    pq.write_table(table.set_column(column, "seconds", values), path)


def states_edited(path: Path) -> None:
    table = pq.read_table(path)
    column = table.schema.get_field_index("states")
    values = pa.array([[0] * len(value) for value in table["states"].to_pylist()], table.schema.field("states").type)
    pq.write_table(table.set_column(column, "states", values), path)


def shortened(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def foreign(path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(path)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (flip_outcome, "main.parquet'"),
        (edited, "was changed after it was written"),
        (states_edited, "was changed after it was written"),
        (shortened, "is not a baseline file, or it is damaged"),
        (foreign, "is not a baseline file, or it is damaged"),
        (lambda path: path.write_text("hello"), "is not a baseline file, or it is damaged"),
        (lambda path: path.unlink(), "cannot be read: No such file"),
    ],
    ids=["flipped", "edited", "states", "shortened", "foreign", "text", "gone"],
)
def test_a_damaged_or_edited_file_is_one_clear_line(harm: Callable[[Path], object], words: str, tmp_path: Path) -> None:
    path = tmp_path / "main.parquet"
    write_baseline(path, version(30))
    harm(path)
    with pytest.raises(StoreError) as caught:
        load_table(str(path), "nowhere")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_flipped_byte_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "main.parquet"
    made = version(30)
    write_baseline(path, made)
    whole = path.read_bytes()
    noticed = 0
    for place in range(0, len(whole), 211):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            assert read_baseline(path).digest == made.digest
        except HarnessError:
            noticed += 1
    assert noticed > 10


def test_names_and_places() -> None:
    assert baseline_path("main") == Path("baselines/main.parquet")
    assert baseline_path("main", "else/where.parquet") == Path("else/where.parquet")
    for name, file in (("../main", None), ("", None), ("main", "main.json")):
        with pytest.raises(UsageError):
            baseline_path(name, file)


def test_a_folder_of_baselines_is_one_table(tmp_path: Path) -> None:
    both = {name: version(30, "old", name) for name in ("fgsm-linf", "noise-linf")}
    for name, made in both.items():
        part = replace(made, rows=[one for one in made.rows if one.stressor == name])
        write_baseline(tmp_path / f"{name}.parquet", part)
    found = load_table(str(tmp_path), "nowhere")
    assert [one.stressor for one in found.rows] == list(both)
    assert find_records([found], [one.key for one in found.rows], "nowhere").keys() == {one.key for one in found.rows}
    write_baseline(tmp_path / "again.parquet", both["fgsm-linf"])
    with pytest.raises(StoreError, match="several rows of one evaluation"):
        load_table(str(tmp_path), "nowhere")
