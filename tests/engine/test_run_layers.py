"""``run --layers``: layers beside records, for cells that are measured and for cells that are reused."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from robustbench_wb.api import run as harness
from robustbench_wb.api.claims import claims
from robustbench_wb.engine import layer_observer as look
from robustbench_wb.engine.layer_observer import find_layers, keep_layers
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.folders import cache_folder
from robustbench_wb.layers.drift import drift
from robustbench_wb.layers.table import MEASURES, LayerTable
from robustbench_wb.records.score_row import LAYER_MEANS, ScoreRow
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from robustbench_wb.stressors.attacks.fgsm import FgsmLinf

NO_LAYERS = dict.fromkeys(LAYER_MEANS) | {"layers": ""}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "cache"))


def request(**changes: object) -> RunRequest:
    fields = {
        "variants": ("crate",),
        "stressors": ("fgsm-linf",),
        "epsilons": ("2/255", "8/255"),
        "recipe": "none",
        "samples": 40,
        "device": "cpu",
        "layers": True,
    }
    return RunRequest.model_validate({**fields, **changes})


def numbers(rows: Sequence[ScoreRow]) -> list[dict[str, object]]:
    return [row.model_dump(exclude={"seconds", "train_seconds", "checksum"}) for row in rows]


def own(row: ScoreRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in NO_LAYERS}


@pytest.mark.slow(2)
def test_rows_hold_what_the_layers_do(tmp_path: Path) -> None:
    results = str(tmp_path / "results")
    report = harness.run(request(), results)
    plain = harness.run(request(layers=False), str(tmp_path / "plain"))
    # Looking changes nothing else, and nothing is looked at unasked.
    assert [{**row, **NO_LAYERS} for row in numbers(report.rows)] == numbers(plain.rows)
    assert ScoreTable(results).rows() == list(report.rows)

    clean = find_layers(report.rows[0].key)
    assert clean is not None
    assert clean.ids.tolist() == RecordStore(results).find([report.rows[0].key])[report.rows[0].key].ids.tolist()
    assert json.loads(report.rows[0].layers)["drift"] == {}
    for row in report.rows:
        table = find_layers(row.key)
        assert table is not None
        content = json.loads(row.layers)
        assert content["n"] == len(table.ids)
        assert content["measures"].keys() == set(MEASURES)
        for name in LAYER_MEANS:
            assert getattr(row, name) == pytest.approx(table.values[name].mean(axis=1).mean())
            assert content["measures"][name]["mean"] == pytest.approx(table.mean(name).tolist())
        if row.stressor != "clean":
            moved = drift(clean.select(table.ids), table)
            assert content["drift"]["entropy"]["mean"] == pytest.approx(moved["entropy"].mean.tolist())


def test_the_layers_of_a_cell_are_those_of_the_samples_it_tried(tmp_path: Path) -> None:
    results = str(tmp_path / "results")
    report = harness.run(request(), results)
    records = RecordStore(results).find([row.key for row in report.rows])
    alive = np.ones(40, dtype=bool)
    for row in report.rows:
        table, record = find_layers(row.key), records[row.key]
        assert table is not None
        assert table.ids.tolist() == record.ids[alive].tolist()
        alive = record.states == 0


@pytest.mark.slow(3)
def test_a_reused_record_gets_its_layers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = str(tmp_path / "results")
    first = harness.run(request(layers=False), results)
    late = harness.run(request(), results)
    assert (late.measured, late.reused) == (0, 3)
    assert [row.key for row in late.rows] == [row.key for row in first.rows]
    fresh = harness.run(request(), str(tmp_path / "other"))
    assert numbers(fresh.rows) == numbers(late.rows)

    def never(self: FgsmLinf, batch: object, access: object) -> None:
        raise AssertionError("attacked again")

    monkeypatch.setattr(FgsmLinf, "apply", never)
    assert numbers(harness.run(request(), results).rows) == numbers(late.rows)
    assert [own(row) for row in harness.run(request(layers=False), results).rows] == [NO_LAYERS] * 3


def test_a_suite_with_layers_has_them_and_claims_read_them(tmp_path: Path) -> None:
    suite = tmp_path / "depth.toml"
    head = 'name = "depth"\nversion = 1\nsummary = "Depth."\nlayers = true\n[[stressors]]\nuse = "clean"\n'
    suite.write_text(head + '[scales.smoke]\nsize = "nano"\n')
    results = str(tmp_path / "results")
    first = harness.run(request(layers=False, stressors=(), epsilons=()), results)
    found = harness.run(request(suite=str(suite), layers=False, stressors=(), epsilons=()), results)
    assert (found.measured, found.reused) == (0, 1)  # the record of a suite without layers
    assert (found.rows[0].key, found.rows[0].suite) == (first.rows[0].key, "depth")

    table = find_layers(found.rows[0].key)
    assert table is not None
    moved = table.mean("similarity")[-1] - table.mean("similarity")[0]
    relation = "rising" if moved > 0 else "falling"
    (tmp_path / "claims.toml").write_text(
        f'suite = "depth"\nclaims = ["crate-nano none has a {relation} similarity at clean"]'
    )
    (claim,) = claims(str(tmp_path / "claims.toml"), f"{results}:{found.version}", results).claims
    assert claim.evidence is not None
    assert (claim.evidence.worst, claim.evidence.n) == (pytest.approx(moved), 40)
    assert claim.evidence.p_holds < 0.5 < claim.evidence.p_refuted


def test_changed_code_of_a_measure_looks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "0" * 64
    table = LayerTable(np.arange(3), {name: np.random.default_rng(0).normal(size=(2, 3)) for name in MEASURES})
    keep_layers(key, table)
    found = find_layers(key)
    assert found is not None
    assert found.ids.tolist() == [0, 1, 2]
    for name in MEASURES:
        np.testing.assert_array_equal(found.values[name], table.values[name])
    assert find_layers("1" * 64) is None
    monkeypatch.setattr(look, "code_digest", lambda *modules: "another")
    assert find_layers(key) is None


def test_a_damaged_file_is_not_there(tmp_path: Path) -> None:
    key = "0" * 64
    keep_layers(key, LayerTable(np.arange(3), {name: np.zeros((2, 3)) for name in MEASURES}))
    (path,) = cache_folder("layers").iterdir()
    path.write_bytes(path.read_bytes()[:50])
    assert find_layers(key) is None


def test_a_look_that_fails_leaves_a_gap_and_a_whole_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = harness.run(request(layers=False), str(tmp_path / "plain"))
    calls = []

    def fragile(*arguments: object, **options: object) -> LayerTable:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("no memory")
        return LayerTable(np.arange(2), {name: np.zeros((2, 2)) for name in MEASURES})

    monkeypatch.setattr(look, "measure_layers", fragile)
    report = harness.run(request(), str(tmp_path / "results"))
    # Without the clean layers there is nothing to compare the others with.
    assert [own(row) for row in report.rows] == [NO_LAYERS] * 3
    assert numbers(report.rows) == numbers(expected.rows)
    assert len(calls) == 3


def test_somebody_else_s_model_has_no_layers_and_is_not_attacked_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.py"
    path.write_text("from torch import nn\ndef make(s):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n")
    results = str(tmp_path / "results")
    report = harness.run(request(variants=(f"{path}:make",)), results)
    assert [own(row) for row in report.rows] == [NO_LAYERS] * 3
    assert {row.status for row in report.rows} == {"ok"}
    monkeypatch.setattr(FgsmLinf, "apply", lambda self, batch, access: 1 / 0)
    assert harness.run(request(variants=(f"{path}:make",)), results).reused == 3
