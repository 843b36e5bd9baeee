"""Pairing and proof of digests of two versions by benchmarks/equivalence.py."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "equivalence.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("equivalence_script", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["equivalence_script"] = module
    spec.loader.exec_module(module)
    return module


OLD = {
    "vit digits": ["m", "t", "c"],
    "pgd;x": ["m", "t", "c", "p", "s"],
    "fgsm;x": ["m", "t", "c", "p"],
    "fog;x": ["f"],
}
NEW = {
    "vit digits": ["M", "t", "C"],
    "pgd;x": ["M", "t", "C", "P", "S"],
    "fgsm;x": ["M", "t", "C", "P"],
    "fog;x": ["F"],
}


def outcomes(*changed: str) -> dict[str, dict[str, str]]:
    return {name: {"cell": f"{name}{' moved' * (name in changed)}"} for name in OLD}


def found(script: ModuleType, *changed: str, **new: list[str]) -> tuple[set[tuple[str, str]], list[str]]:
    old = script.Golden(outcomes=outcomes(), digests=OLD)
    listed, _, said = script.entries(old, script.Golden(outcomes=outcomes(*changed), digests={**NEW, **new}), [])
    return {(entry["old"], entry["new"]) for entry in listed}, said


def test_digests_of_the_same_runs_are_paired(script: ModuleType) -> None:
    pairs, said = found(script)
    assert pairs == {("m", "M"), ("c", "C"), ("p", "P"), ("s", "S"), ("f", "F")}
    assert said == []


def test_a_run_with_another_outcome_lists_no_digest_of_its_own(script: ModuleType) -> None:
    pairs, said = found(script, "fog;x", "pgd;x")
    assert pairs == {("m", "M"), ("c", "C")}  # the model is judged by the run without a stressor
    assert said[:2] == ["unequal outcomes: pgd;x", "unequal outcomes: fog;x"]
    assert {line[:15] for line in said[2:]} == {"not listed: p a", "not listed: s a", "not listed: f a"}


def test_a_model_with_other_outcomes_is_not_listed_but_shared_code_is(script: ModuleType) -> None:
    more = {"crate digits": ["n", "t", "c"]}
    old = script.Golden(outcomes={**outcomes(), "crate digits": {"cell": "1"}}, digests={**OLD, **more})
    for moved, pairs in (("1", {("m", "M"), ("n", "N"), ("c", "C")}), ("2", {("m", "M"), ("c", "C")})):
        new = script.Golden(
            outcomes={**outcomes(), "crate digits": {"cell": moved}}, digests={**NEW, "crate digits": ["N", "t", "C"]}
        )
        listed = {(entry["old"], entry["new"]) for entry in script.entries(old, new, [])[0]}
        assert listed & {("m", "M"), ("n", "N"), ("c", "C")} == pairs


def test_no_pair_is_listed_if_all_outcomes_differ(script: ModuleType) -> None:
    assert found(script, *OLD)[0] == set()


def test_listed_pairs_are_kept_and_not_listed_twice(script: ModuleType) -> None:
    old, new = script.Golden(outcomes=outcomes(), digests=OLD), script.Golden(outcomes=outcomes(), digests=NEW)
    listed = [{"old": "f", "new": "F"}, {"old": "x", "new": "y"}]
    entries, equal, _ = script.entries(old, new, listed)
    assert entries[:2] == listed
    assert len(entries) == 6
    assert equal == list(OLD)


def test_a_file_that_was_split_is_paired_run_by_run(script: ModuleType) -> None:
    old = script.Golden(outcomes=outcomes(), digests={**OLD, "pgd;x": ["m", "c", "a"], "fgsm;x": ["m", "c", "a"]})
    new = script.Golden(outcomes=outcomes(), digests={**NEW, "pgd;x": ["M", "C", "A1"], "fgsm;x": ["M", "C", "A2"]})
    pairs = {(entry["old"], entry["new"]) for entry in script.entries(old, new, [])[0]}
    assert {("a", "A1"), ("a", "A2")} <= pairs


def test_every_run_has_a_name_of_its_own(script: ModuleType) -> None:
    names = [run.name for run in script.runs(["vit", "bert", "crate"])]
    assert len(set(names)) == len(names)
    assert names[:2] == ["vit digits", "bert sentences"]
