"""``layers`` through the command."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from robustbench_wb.layers.table import MEASURES

SHOW = ("layers", "crate", "--recipe", "none", "--samples", "40", "--device", "cpu")


def test_layers_of_a_variant_as_tables_and_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: Callable[..., tuple[str, str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    stressors = ("--stressor", "fgsm-linf;eps=8/255", "--stressor", "pgd-l2;eps=1/2;steps=2")
    clean, fgsm, pgd = typed(*SHOW, *stressors)[0].strip().split("\n\n")
    assert clean.splitlines()[0] == "crate-nano on digits, recipe none, seed 0: layers, clean"
    assert "fgsm-linf;eps=8/255" in fgsm.splitlines()[0]
    assert "pgd-l2;eps=1/2;steps=2" in pgd.splitlines()[0]
    for table in (clean, fgsm, pgd):
        lines = table.splitlines()[2:-3]
        everywhere = [[name, str(i)] for name in MEASURES if not name.startswith("cross") for i in (1, 2, 3, 4)]
        assert [line.split()[:2] for line in lines] == [*everywhere, ["cross_share", "1"], ["cross_shift", "1"]]
        notes = [f"{name}: defined in 1 of 4 layers" for name in ("cross_share", "cross_shift")]
        assert table.splitlines()[-2:] == notes
    content = json.loads(typed(*SHOW, *stressors, "--json")[0])
    assert [one["signature"].split(";")[0] for one in content["stressed"]] == ["fgsm-linf", "pgd-l2"]
    shown = [line.split() for line in fgsm.splitlines()[2:-3]]
    for name, layer, before, after, moved, *interval in shown:
        one, place = content["stressed"][0], int(layer) - 1
        drift = one["drift"][name]
        assert float(before) == round(one["clean"][name]["mean"][place], 3)
        assert float(after) == round(one["measures"][name]["mean"][place], 3)
        assert float(moved) == round(drift["mean"][place], 3)
        low, high = (float(end.strip("[],")) for end in interval)
        assert (low, high) == (round(drift["low"][place], 3), round(drift["high"][place], 3))
        assert drift["low"][place] <= drift["mean"][place] <= drift["high"][place]
    assert not (tmp_path / "results").exists()
