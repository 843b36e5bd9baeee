"""docs/formats.md holds: what every release wrote is read, what a later one writes is refused, the examples run."""

import csv
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake

from robustbench_wb.records.record import SAMPLES_VERSION, State
from robustbench_wb.records.score_row import SCHEMA_VERSION, ScoreRow
from robustbench_wb.report.csv import COLUMNS, DIFF_COLUMNS
from robustbench_wb.store.baseline import read_baseline, write_baseline
from robustbench_wb.store.loaded_table import load_table
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.store.make import record, row

FIXTURES = Path(__file__).parents[1] / "fixtures"
PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
NUMBERS = range(1, SCHEMA_VERSION + 1)
# Noted when they were made: accuracy of clean, fgsm-linf and pgd-linf at 32/255, 8 samples.
ACCURACIES = {1: (1.0, 0.5, 0.625), 2: (0.875, 0.5, 0.75), 3: (0.875, 0.5, 0.75), 4: (0.875, 0.25, 0.625)}
RECORD_SCHEMAS = {1: 1, 2: 1, 3: 1}
WHOLE_DIGESTS = 10
"""First schema number whose fixture has digests that cover time and schema as well."""
KINDS = {"ids": "<i4", "states": "<i1", "losses": "<f4", "forwards": "<i4", "backwards": "<i4"}

Command = Callable[..., tuple[str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: Command) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return typed


@pytest.fixture
def latest(tmp_path: Path) -> Path:
    """A copy of the newest fixture, in the current folder of ``command``."""
    return Path(shutil.copytree(FIXTURES / f"schema-{SCHEMA_VERSION}", tmp_path, dirs_exist_ok=True))


def written(number: int) -> list[dict[str, Any]]:
    """The rows as the release of their time wrote them as JSON."""
    content = json.loads((FIXTURES / f"schema-{number}" / "leaderboard.json").read_text(encoding="utf-8"))
    return list(content["rows"])


def test_there_is_a_table_of_every_number_and_columns_were_only_added_at_the_end() -> None:
    assert {path.name for path in FIXTURES.glob("schema-*")} == {f"schema-{number}" for number in NUMBERS}
    headers = []
    for number in NUMBERS:
        with (FIXTURES / f"schema-{number}" / "leaderboard.csv").open(newline="", encoding="utf-8") as file:
            headers.append(tuple(next(csv.reader(file))))
    assert headers[-1] == COLUMNS, "raise SCHEMA_VERSION, run tests.fixtures.make and note it in docs/formats.md"
    for earlier, later in pairwise(headers):
        assert later[: len(earlier)] == earlier
        assert len(later) > len(earlier)


@pytest.mark.parametrize("number", NUMBERS)
def test_what_a_release_wrote_is_read(number: int, command: Command) -> None:
    folder = FIXTURES / f"schema-{number}"
    results, given = str(folder / "results"), written(number)
    shown = json.loads(command("leaderboard", "--json", "--results", results)[0])
    assert (shown["schema"], shown["version"]) == (SCHEMA_VERSION, 1)
    assert [{name: found[name] for name in first} for found, first in zip(shown["rows"], given, strict=True)] == given
    assert tuple(one["accuracy"] for one in shown["rows"]) == ACCURACIES.get(number, ACCURACIES[4])
    rows = [ScoreRow.model_validate(one) for one in shown["rows"]]
    for ending in ("csv", "json"):
        assert load_table(str(folder / f"leaderboard.{ending}"), results).rows == rows
    assert "pgd-linf" in command("show", "v1", "--results", results, "--full")[0]
    compared = json.loads(command("diff", results, str(folder / "leaderboard.csv"), "--json")[0])
    assert [pair["verdict"] for pair in compared["pairs"]] == ["equivalent"] * 3


@pytest.mark.parametrize("number", NUMBERS)
def test_its_records_are_whole_and_say_what_its_rows_say(number: int) -> None:
    rows = [ScoreRow.model_validate(one) for one in written(number)]
    records = RecordStore(str(FIXTURES / f"schema-{number}" / "results")).find([one.key for one in rows])
    for one in rows:
        found = records[one.key]
        counts = (found.count(State.ROBUST), found.count(State.BROKEN), found.count(State.WRONG))
        assert counts == (one.robust, one.broken, one.wrong)
        assert (len(found.ids), float(found.forwards.mean())) == (one.n, one.forwards)
        assert found.identity.schema_version == RECORD_SCHEMAS.get(number, SAMPLES_VERSION)
        assert found.identity.signature == one.signature


@pytest.mark.parametrize("number", NUMBERS)
def test_key_and_digest_are_what_the_page_says(number: int) -> None:
    files = DeltaTable(str(FIXTURES / f"schema-{number}" / "results" / "records")).file_uris()
    for entry in pd.concat(map(pd.read_parquet, files)).to_dict("records"):
        assert entry["key"] == hashlib.sha256(entry["identity"].encode()).hexdigest()
        head = f"{entry['key']}\n{entry['wobble']}\n"
        if entry["schema_version"] > 1:
            head += f"{entry['evidence']}\n{entry.get('perturbed', '')}"
        if number >= WHOLE_DIGESTS:
            head += f"\n{entry['schema_version']}\n{entry['seconds']!r}\n{entry['written']}"
        state = hashlib.sha256(head.encode())
        for name, kind in KINDS.items():
            state.update(f"{name} {len(entry[name])}\n".encode() + np.asarray(entry[name]).astype(kind).tobytes())
        assert entry["digest"] == state.hexdigest()


def test_the_first_table_goes_on_in_the_columns_of_today(tmp_path: Path, command: Command) -> None:
    results = str(shutil.copytree(FIXTURES / "schema-1" / "results", tmp_path / "results"))
    made = record()
    RecordStore(results).append(made)
    assert ScoreTable(results).commit([row(made)], {}) == 2
    first = [ScoreRow.model_validate(one) for one in written(1)]
    assert ScoreTable(results).rows("v1") == first
    assert ScoreTable(results).rows() == [*first, row(made)]
    assert RecordStore(results).find([first[0].key, made.key]).keys() == {first[0].key, made.key}
    commits = {entry["version"]: entry.get("schema") for entry in DeltaTable(f"{results}/scores").history()}
    assert commits == {0: None, 1: None, 2: str(SCHEMA_VERSION)}
    assert "v1" in command("diff", "v1", "v2")[0]


def later(folder: Path, schema: int, **columns: Any) -> None:
    """One more version of the score table, by a release that is yet to come."""
    table = DeltaTable(str(folder / "results" / "scores"))
    content = pa.table(table.to_pyarrow_table())
    for name, value in columns.items():
        content = content.append_column(name, pa.array([value] * len(content)))
    given = CommitProperties(custom_metadata={"schema": str(schema)})
    write_deltalake(table, content, mode="overwrite", schema_mode="overwrite", commit_properties=given)


@pytest.mark.parametrize("columns", [{}, {"unheard_of": 1}])
def test_a_later_table_is_refused_and_not_written_to(latest: Path, columns: dict[str, int], command: Command) -> None:
    later(latest, SCHEMA_VERSION + 1, **columns)
    line = f"schema of the scores under 'results' is {SCHEMA_VERSION + 1} and this release reads up to {SCHEMA_VERSION}"
    for arguments in (("show", "v2"), ("leaderboard",), ("diff", "v1", "v2"), ("gate", "--baseline", "v1")):
        out, err = command(*arguments, code=2)
        assert (out, err.count("\n")) == ("", 1)
        assert line in err
    before = sorted(latest.rglob("*"))
    with pytest.raises(Exception, match=line):
        ScoreTable("results").commit([row()], {})
    assert sorted(latest.rglob("*")) == before
    # The earlier version is of today.
    assert "pgd-linf" in command("show", "v1", "--full")[0]


def test_later_files_are_refused(latest: Path, command: Command) -> None:
    content = json.loads((latest / "leaderboard.json").read_text(encoding="utf-8"))
    number = SCHEMA_VERSION + 1
    (latest / "late.json").write_text(json.dumps({**content, "schema": number}))
    (latest / "odd.json").write_text(json.dumps({**content, "schema": "new"}))
    lines = (latest / "leaderboard.csv").read_text(encoding="utf-8").splitlines()
    (latest / "late.csv").write_text(
        "\n".join(f"{line},{'unheard_of' if not at else 1}" for at, line in enumerate(lines))
    )
    table = pq.read_table(latest / "baselines" / "main.parquet")
    header = json.loads(table.schema.metadata[b"robustbench_wb"])
    told = {b"robustbench_wb": json.dumps({**header, "schema": number}).encode()}
    pq.write_table(table.replace_schema_metadata(told), latest / "late.parquet")
    expected = {
        "late.json": f"schema of 'late.json' is {number}",
        "odd.json": "schema of 'odd.json' is 'new', which is not a number",
        "late.csv": "'late.csv' have columns of a newer release (unheard_of)",
        "late.parquet": f"schema of 'late.parquet' is {number}",
    }
    for name, words in expected.items():
        out, err = command("diff", name, "v1", code=2)
        assert (out, err.count("\n")) == ("", 1)
        assert words in err


def test_a_baseline_of_fewer_columns_is_read_with_its_own_digest(latest: Path, command: Command) -> None:
    """As it will be when the next column comes: it must not look like one that was changed."""
    now = read_baseline(latest / "baselines" / "main.parquet")
    earlier = replace(now, columns=now.columns[:-1])
    assert earlier.digest != now.digest
    write_baseline(Path("baselines/early.parquet"), earlier)
    assert now.columns[-1] not in pq.read_table("baselines/early.parquet").column_names
    found = read_baseline(Path("baselines/early.parquet"))
    last = now.columns[-1]
    lacking = {last: ScoreRow.model_fields[last].default}
    assert list(found.rows) == [row.model_copy(update=lacking) for row in now.rows]
    assert found.digest == earlier.digest
    assert "passed" in command("gate", "--baseline", "baselines/early.parquet")[0]


def test_the_page_names_every_column_and_number() -> None:
    score_columns = PAGE.partition("## Scores")[2].partition("## Comparisons")[0]
    record_columns = PAGE.partition("## Records")[2].partition("## Scores")[0]
    comparison = PAGE.partition("## Comparisons")[2].partition("## Gates")[0]
    for section, names in ((score_columns, COLUMNS), (comparison, DIFF_COLUMNS)):
        assert [name for name in names if f"`{name}`" not in section] == []
    stored = DeltaTable(str(FIXTURES / f"schema-{SCHEMA_VERSION}" / "results" / "records")).schema().to_arrow().names
    assert [name for name in stored if f"`{name}`" not in record_columns] == []
    counts = [int(count) for count in re.findall(r"^\| \d+ \| (\d+) \|", score_columns, re.MULTILINE)]
    assert counts == [len(written(number)[0]) for number in NUMBERS]


def test_the_examples_run_and_agree(latest: Path, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    expected = sorted((one["stressor"], one["accuracy"], one["accuracy"]) for one in written(SCHEMA_VERSION))
    *readers, files = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = ("stressor", "accuracy", "share")
    as_dicts: tuple[Callable[[Any], Any], ...] = (
        lambda frame: frame.to_dict("records"),
        lambda relation: relation.df().to_dict("records"),
        lambda frame: frame.to_dicts(),
    )
    for code, convert in zip(readers, as_dicts, strict=True):
        space: dict[str, Any] = {}
        exec(code, space)
        assert sorted(tuple(one[name] for name in names) for one in convert(space["robust"])) == expected
    capsys.readouterr()
    exec(files, {})
    printed = capsys.readouterr().out
    assert printed.count("fgsm-linf") == 6
    assert printed.count("0.625") == 6
