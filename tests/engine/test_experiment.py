"""Experiments: the product of their lists, includes and excludes, files, and what is refused."""

from pathlib import Path

import pytest

from robustbench_wb.api.request import make_experiment
from robustbench_wb.engine.experiment import Experiment, experiment_of, parse_seeds, read_experiment
from robustbench_wb.engine.plan import make_plan
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import HarnessError, UsageError
from robustbench_wb.suites.default_suite import default_suite
from robustbench_wb.tasks.catalogue import TASKS

FILE = """
variants = ["vit", { name = "crate", lam = [0.05, 0.1] }]
recipes = ["standard", "pgd-at"]
suites = ["clean", "adversarial"]
seeds = "0-1"
samples = 20

[[exclude]]
recipes = "pgd-at"
variants = "crate*"

[[include]]
suites = "clean"
tasks = "sentences"
variants = "bert"
recipes = "standard"
seeds = 7
"""


def parts(experiment: Experiment) -> list[tuple[object, ...]]:
    return [(one.suite, one.tasks, one.variants, one.recipe, one.seed) for one in experiment.requests]


def test_one_request_is_an_experiment_of_itself() -> None:
    """Provenance and keys of a single run stay as they are."""
    asked = RunRequest(suite="clean", tasks=("digits",), recipe="none", seed=3, samples=9, workers=2)
    assert make_experiment(asked, {}).requests == (asked,)
    assert make_experiment(None, {}).requests == (RunRequest(suite="adversarial"),)


def test_a_file_is_the_product_without_excludes_and_with_includes(tmp_path: Path) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text(FILE)
    every, digits = ("vit", "crate;lam=0.05", "crate;lam=0.1"), ("digits",)
    expected = [
        (suite, digits, ("vit",) if recipe == "pgd-at" else every, recipe, seed)
        for suite in ("clean", "adversarial")
        for recipe in ("standard", "pgd-at")
        for seed in (0, 1)
    ]
    found = read_experiment(file)
    assert parts(found) == [*expected, ("clean", ("sentences",), ("bert",), "standard", 7)]
    assert [(one.task, one.seed) for one in found.combinations][-2:] == [("digits", 1), ("sentences", 7)]
    assert {one.samples for one in found.requests} == {20}
    fewer = read_experiment(file, seeds=["3"], suites=("clean",), samples=5)
    assert {one.seed for one in fewer.requests} == {3, 7}
    assert {one.samples for one in fewer.requests} == {5}


def test_the_suite_follows_the_kind_of_each_task() -> None:
    found = parts(make_experiment(None, {"tasks": ["digits", "sentences", "digits-32"], "seeds": [0, 1]}))
    images, texts = ("digits", "digits-32"), ("sentences",)
    assert [part[:2] + part[-1:] for part in found] == [
        *(("adversarial", images, seed) for seed in (0, 1)),
        *(("adversarial-text", texts, seed) for seed in (0, 1)),
    ]
    with pytest.raises(UsageError, match="have no suite in common"):
        make_plan(RunRequest(tasks=("digits", "sentences")))


@pytest.mark.parametrize("task", [entry.name for entry in TASKS])
def test_every_task_has_a_suite_with_strengths_for_it(task: str) -> None:
    (found,) = make_plan(RunRequest(tasks=(task,))).tasks
    kinds = {rung.modality for ladder in found.ladders for rung in ladder.rungs}
    images = (
        task.partition("-")[0] in ("digits", "fashion", "cifar10", "scattered", "ade20k") and task != "digits-sequence"
    )
    assert ("image" in kinds) == images
    assert default_suite("owner/images") == "adversarial"


@pytest.mark.parametrize(
    ("given", "seeds"),
    [("0-2,5", (0, 1, 2, 5)), ([0, "3-4", 0], (0, 3, 4)), (7, (7,)), ("7", (7,)), ([1, 0], (1, 0))],
)
def test_seeds_are_lists_and_ranges(given: object, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(given) == seeds


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"sampels": 3}, "file: unknown key 'sampels'; did you mean samples"),
        ({"seed": 1}, "file: unknown key 'seed'; did you mean seeds"),
        ({"include": [{"variant": "vit"}]}, "file: include: unknown key 'variant'; did you mean variants?"),
        ({"include": {"variants": "vit"}}, "write each as [[include]]"),
        ({"seeds": "2-0"}, "ranges like 0-2, not '2-0'"),
        ({"seeds": "0-99999999999"}, "1 to 1000"),
        ({"seeds": []}, "1 to 1000 numbers, not 0"),
        ({"seeds": 0.5}, "whole numbers or ranges"),
        ({"seeds": True}, "not True"),
        ({"seeds": -1}, "seed must be at least 0, not -1"),
        ({"variants": []}, "at least one variant; variants is empty"),
        ({"variants": [3]}, "3 is not a name, or a table"),
        ({"tasks": [{"name": "digits"}]}, "is not a name"),
        ({"samples": "many"}, "file: samples must be a number, not 'many'"),
        ({"samples": True}, "file: samples must be a number, not True"),
        ({"samples": "200"}, "file: samples must be a number, not '200'"),
        ({"timeout": True}, "file: timeout must be a number, not True"),
        ({"isolate": "yes"}, "file: isolate must be true or false, not 'yes'"),
        ({"scale": "smol"}, "scale must be 'smoke', 'small' or 'full', not 'smol'"),
        ({"exclude": [{"variants": "crat"}], "variants": ["vit"]}, "fits no combination"),
        ({"exclude": [{"variants": "vit"}], "variants": ["vit"]}, "nothing is left"),
        ({"suites": "cleen", "include": [{"seeds": 3}]}, "did you mean clean?"),
    ],
)
def test_wrong_experiments_are_refused_in_one_line(given: dict[str, object], reason: str) -> None:
    with pytest.raises(HarnessError) as refused:
        _ = experiment_of(given, "file").requests
    assert reason in str(refused.value)


def test_one_name_stands_for_a_list() -> None:
    settings = experiment_of({"stressors": "gaussian-noise", "epsilons": ["8/255"]}, "file").settings
    assert (settings.stressors, settings.epsilons) == (("gaussian-noise",), ("8/255",))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "does not exist"), (b"\xff", "cannot be read as text"), (b"seeds = ", "is not TOML"), (b"a = 1", "'a'")],
)
def test_wrong_files_are_refused(content: bytes | None, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "experiment.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match="experiment file") as refused:
        read_experiment(file)
    assert reason in str(refused.value)


def test_python_takes_one_way_at_a_time() -> None:
    with pytest.raises(UsageError, match="seeds and seed are both given"):
        make_experiment(None, {"seeds": [1], "seed": 1})
    with pytest.raises(UsageError, match="experiment and samples are both given"):
        make_experiment(Experiment(), {"samples": 3})
