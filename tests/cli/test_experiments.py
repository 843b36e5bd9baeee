"""docs/experiments.md, typed: one plan, one version, resumed; and what its options refuse."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path

import pytest
from torch import Tensor

from robustbench_wb import forecast, leaderboard, read_experiment, run, train
from robustbench_wb.api.request import RequestFields
from robustbench_wb.engine import forecast_runs
from robustbench_wb.engine.cost_forecast import SampleCost
from robustbench_wb.models.catalogue import ATTENTIONS, VARIANTS
from robustbench_wb.store.loaded_table import load_table
from robustbench_wb.store.run_requests import find_run_requests
from robustbench_wb.store.score_table import ScoreTable
from robustbench_wb.tasks.catalogue import find_task

PAGE = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")
TINY = ("--samples", "8", "--device", "cpu", "--progress", "none")
SUITES = ("clean", "adversarial")
MODEL = """
from torch import nn
def flat(shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape.channels * shape.height * shape.width, shape.classes))
"""
Typed = Callable[..., tuple[str, str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path


@pytest.fixture
def registries() -> Iterator[None]:
    """Registries that may be added to; afterwards they are as they were."""
    before = [(one, {name: copy(value) for name, value in vars(one).items()}) for one in (ATTENTIONS, VARIANTS)]
    yield
    for registry, fields in before:
        vars(registry).clear()
        vars(registry).update(fields)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.S)


def test_several_seeds_and_suites_are_one_version_and_resume(typed: Typed, folder: Path) -> None:
    suites = ("--suite", "clean", "--suite", "corruption", "--stressor", "brightness;severity=5")
    command = ("run", "--variant", "model.py:flat", "--recipe", "none", *suites, *TINY)
    out, err = typed(*command, "--seeds", "0-1")
    assert "Saved v1 in results · 8 new evaluations, 0 reused · 0 models trained" in err
    assert "leaderboard --over-seeds" in err
    assert "another model" not in err  # another seed has other weights
    assert "seeds 0, 1" in out
    assert "0 new evaluations, 8 reused" in typed(*command, "--seed", "0", "--seed", "1")[1]
    (info,) = [one for one in ScoreTable("results").versions() if one.number == 1]
    assert info.provenance["seed"] == [0, 1]
    assert len(find_run_requests(load_table("v1", "results"))) == 4
    assert "8 of 8 rows recomputed" in typed("verify", "v1")[0]
    table, _ = typed("leaderboard", "--over-seeds")
    assert re.search(r"model\.py:flat +0-1 +\d+\.\d ± ", table)
    for name in ("--ranking-csv", "--markdown", "--latex"):
        assert "model.py:flat" in typed("leaderboard", "--over-seeds", name, "-")[0]
    content = json.loads(typed("leaderboard", "--over-seeds", "--json")[0])
    assert content["panels"][0]["lines"][0]["seeds"] == [0, 1]
    assert leaderboard().over_seeds.panels[0].lines[0].seeds == (0, 1)


def test_a_plan_costs_nothing_and_shares_trainings(typed: Typed, folder: Path) -> None:
    before = set(folder.iterdir())
    suites = ("--suite", "clean", "--suite", "adversarial", "--stressor", "torchattacks:PGD;eps=8/255")
    options = ("--variant", "vit;depth=1", "--recipe", "standard;epochs=1", "--seeds", "0-2", "--workers", "2", *TINY)
    out, _ = typed("run", *suites, *options, "--plan")
    rows = re.findall(r"^(\S+)-custom-\w+ +(\S+) +(\S+) +0-2 +(\d+) +0 +(<?\d+ s) +<?\d+ s +0\.0\d GB", out, flags=re.M)
    shown = [("vit-nano;depth=1", "standard;epochs=1", "6")] * 2
    assert [(suite, *names) for suite, *names, _ in rows] == [("clean", *shown[0]), ("adversarial", *shown[1])]
    assert rows[1][-1] == "0 s"  # one model per seed, whatever the number of suites
    assert re.search(r"^total +1 model +12 +0 ", out, flags=re.M)
    assert "100 forward and backward passes are assumed for torchattacks:PGD" in out
    assert "2 workers share the evaluation" in out
    assert "nothing was trained, evaluated or written" in out
    assert set(folder.iterdir()) == before


def test_a_plan_subtracts_what_is_stored(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_runs, "time_model", lambda *_, **__: SampleCost(1.0, 3.0))
    asked = ("--suite", "corruption", "--variant", "model.py:flat", "--recipe", "none", *TINY)
    noise, blur = (("--stressor", f"{name};severity=3") for name in ("gaussian-noise", "brightness"))
    attack = ("--stressor", "pgd-linf;eps=8/255;steps=2;loss=ce")

    def planned(*options: str) -> tuple[int, int, float]:
        (part,) = json.loads(typed("run", *asked, *options, "--plan", "--json")[0])["parts"]
        return part["cells"], part["stored"], part["evaluation_seconds"]

    typed("run", *asked, *noise)
    assert planned(*noise, "--layers") == (2, 2, 0)  # a model of one's own has no layers to measure
    assert planned(*noise, *blur, "--seeds", "0-1") == (6, 2, 8 * (1 + 3))
    cells, stored, seconds = planned(*noise, *attack)
    assert (cells, stored) == (3, 2)
    assert seconds > 8 * (1 + 3 + 2 * 2)  # the attack and the probe of the model
    typed("run", *asked, *attack)
    assert planned(*noise, *attack)[2] == 0
    told = typed("run", *asked, *noise, *attack, "--plan")[0]
    assert told.startswith("Plan: less than 1 s in one process on cpu; 3 of 3 evaluations stored\n")


def test_a_plan_reckons_with_texts_of_their_mean_length(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    def token_cost(model: object, inputs: Tensor, *, trained: Tensor) -> SampleCost:
        return SampleCost(inputs.shape[1], trained.shape[1])  # a second per token

    monkeypatch.setattr(forecast_runs, "time_model", token_cost)
    given = ("--task", "sentences", "--variant", "bert", "--suite", "clean", "--recipe", "standard;epochs=3", *TINY)
    (part,) = json.loads(typed("run", *given, "--plan", "--json")[0])["parts"]
    data = find_task("sentences").load(None)
    train, test = (round(float((split.inputs != 0).sum(1).mean())) for split in (data.train, data.test))
    assert max(train, test) < data.test.inputs.shape[1]
    assert part["evaluation_seconds"] == 8 * test
    assert part["training_seconds"] == 3 * len(data.train) * train


@pytest.mark.slow(2)
def test_a_plan_subtracts_the_models_in_the_cache(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("RBWB_CACHE_DIR", str(folder / "cache"))
    fields: RequestFields = {"suite": "clean", "variants": "vit;depth=1", "recipe": "standard;epochs=1", "samples": 8}
    asked: RequestFields = {**fields, "stressors": ("label-noise;rate=1/5", "label-noise;rate=2/5")}
    half: RequestFields = {**fields, "stressors": "label-noise;rate=1/5"}
    assert forecast(**asked).trainings == 3
    train(**fields)
    before = forecast(**asked)
    assert (before.trainings, before.stored) == (2, 0)
    run(**half)
    (part,) = forecast(**asked).parts
    assert (part.trainings, part.cells, part.stored) == (1, 3, 2)


def test_a_plan_does_not_know_a_model_that_it_may_not_load(typed: Typed) -> None:
    command = ("run", "--suite", "clean", "--variant", "model.py:flat", "--isolate", *TINY, "--plan")
    found = json.loads(typed(*command, "--json")[0])
    assert (found["seconds"], found["parts"][0]["evaluation_seconds"]) == (0, None)
    assert "no time for model.py:flat: " in typed(*command)[0]
    (part,) = forecast(suite="clean", variants="model.py:flat", recipe="none").parts
    assert part.seconds is not None


def test_the_file_of_the_page(folder: Path) -> None:
    (folder / "experiment.toml").write_text(blocks("toml")[1])
    requests = read_experiment("experiment.toml").requests
    assert {(one.suite, one.tasks, one.variants, one.recipe) for one in requests} == {
        *((suite, ("digits",), ("vit", "crate;lam=0.05", "crate;lam=0.1"), "standard") for suite in SUITES),
        *((suite, ("digits",), ("vit",), "pgd-at") for suite in SUITES),
        ("adversarial-text", ("sentences",), ("bert",), "standard"),
    }
    assert {one.seed for one in requests} == {0, 1, 2}


def test_train_and_explain_take_several_seeds(typed: Typed, folder: Path) -> None:
    asked = ("--variant", "model.py:flat", "--recipe", "none", "--device", "cpu", "--progress", "none")
    out = json.loads(
        typed(
            "train", *asked, "--task", "digits", "--suite", "clean", "--suite", "corruption", "--seeds", "0-1", "--json"
        )[0]
    )
    assert [one["seed"] for one in out] == [0, 1]  # a model that two suites evaluate is one line
    assert len({one["card"]["weights"] for one in out}) == 2
    (folder / "experiment.toml").write_text('variants = "model.py:flat"\nrecipes = "none"\nseeds = "3-4"\n')
    table, _ = typed("train", "experiment.toml", "--device", "cpu", "--progress", "none")
    assert re.findall(r" none +(\d+) ", table) == ["3", "4"]
    table, _ = typed("explain", *asked, "--suite", "clean", "--seed", "0", "--seed", "1")
    assert "2 cells: 2 measured" in table
    assert [f"seed {seed}, clean" in table for seed in (0, 1, 2)] == [True, True, False]


@pytest.mark.parametrize("command", ["selfcheck", "layers", "doctor"])
def test_commands_of_one_seed_say_so(command: str, typed: Typed) -> None:
    model = ("vit",) if command in ("layers", "doctor") else ()
    _, err = typed(command, *model, "--seed", "0", "--seed", "1", code=2)
    assert (
        f"--seed is given more than once; type `{command}` once for each; `run`, `train` and `explain` take several"
        in err
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--seed", "0", "--seeds", "0-2"), "--seed and --seeds are both given"),
        (("--seeds", "3-1"), "ranges like 0-2, not '3-1'"),
        (("--seed", "-1"), "--seed must be at least 0, not -1"),
        (("missing.toml",), "experiment file missing.toml does not exist"),
        (("--suite", "adversarial", "--task", "digits", "--task", "sentences"), "task 'sentences' has none"),
        (("--variant", "crate;lamda=1"), "did you mean lam?"),
        (("--recipe", "standard;epoch=1"), "did you mean epochs?"),
    ],
)
def test_wrong_options_are_one_line(arguments: tuple[str, ...], reason: str, typed: Typed, folder: Path) -> None:
    _, err = typed("run", *arguments, code=2)
    assert reason in err
    assert len(err.splitlines()) == 1
    assert not (folder / "results").exists()


def test_the_suite_follows_the_task(typed: Typed) -> None:
    report = run(
        tasks="sentences", variants="bert;depth=1", recipe="none", samples=4, stressors="character-swap;severity=1"
    )
    assert {row.suite.partition("-custom")[0] for row in report.rows} == {"adversarial-text"}
    assert {row.variant for row in report.rows} == {"bert;depth=1"}
    out, _ = typed("doctor", "bert", "--task", "sentences", "--progress", "none")
    assert "suite adversarial-text" in out


@pytest.mark.slow(60)
@pytest.mark.usefixtures("registries")
def test_the_page_as_typed(typed: Typed, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands on untrained models and few samples; an installer would register the package."""
    adding = (Path(__file__).parents[2] / "docs" / "variants" / "adding.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", adding, flags=re.S)
    (folder / "qknorm.py").write_text(code, encoding="utf-8")
    (folder / "experiment.toml").write_text(blocks("toml")[0])
    install, *commands = [line.removeprefix("$ ") for line in blocks("console")[0].splitlines()]
    assert install == "pip install ./qknorm"
    assert len(commands) == 4
    monkeypatch.syspath_prepend(str(folder))
    ATTENTIONS.add("qknorm", "qknorm:QkNormAttention", "that of the page")
    VARIANTS.add("qknorm", "qknorm:QKNORM", "that of the page")
    for command in commands:
        program, name, *arguments = shlex.split(command)
        assert program == "robustbench-wb"
        fast = (*TINY, "--recipe", "none", "--stressor", "pgd-linf;eps=8/255;steps=2") if name == "run" else ()
        typed(name, *arguments, *fast)
    assert r"qknorm-nano & " in (folder / "table.tex").read_text(encoding="utf-8")
    assert list((folder / "figures").glob("*.pdf"))
