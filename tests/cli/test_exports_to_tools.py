"""``export``: Hugging Face, RobustBench and experiment trackers, read back by the libraries themselves."""

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard, parse_eval_result_entries

from robustbench_wb.api.export import export_tracker
from robustbench_wb.report.trackers.tracker import TRACKERS
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.analysis.test_history import GOOD, measured
from tests.store.make import record, row

Typed = Callable[..., tuple[str, str]]
LINF = "digits adversarial/Linf 8/255"


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A version with vit-nano, 19 of 20 samples robust, and crate-nano under AutoAttack."""
    monkeypatch.chdir(tmp_path)
    rows, records = measured(GOOD, "a")
    attacked = record([0] * 15 + [1] * 5, signature="autoattack-linf;eps=8/255", weights="c", ladder=())
    clean = record([0] * 20, signature="clean", weights="c", ladder=())
    rows.append(row(clean, variant="crate", stressor="clean", strength=""))
    rows.append(row(attacked, variant="crate", stressor="autoattack-linf"))
    for made in (*records.values(), attacked, clean):
        RecordStore("results").append(made)
    ScoreTable("results").commit(rows, {"git": {"commit": "0123456789abcdef", "dirty": False}})
    return "results"


def eval_results(text: str) -> list[EvalResult]:
    found: list[EvalResult] = ModelCard(text).data["eval_results"]
    return found


def test_the_hub_reads_the_model_card(results: str, typed: Typed) -> None:
    out, _ = typed("export", "hf", "--model", "vit")
    clean, robust = eval_results(out)
    assert (clean.metric_name, clean.metric_value) == ("clean accuracy", 100.0)
    assert (robust.metric_name, robust.metric_value) == ("robust accuracy at Linf 8/255", 95.0)
    assert (robust.task_type, robust.dataset_type, robust.metric_type) == ("text-classification", "digits", "accuracy")
    assert robust.metric_args == {
        "n": 20,
        "seed": 0,
        "evaluations": ["fgsm-linf@8/255", "pgd-linf@8/255"],
        "interval_95": [76.39, 99.11],
    }
    assert "| robust accuracy at Linf 8/255 | 95.0 | \\[76.4, 99.1\\] |  |" in out
    assert "Table v1" in out
    assert "commit `0123456789ab`" in out


def test_an_existing_card_keeps_its_own_content(results: str, typed: Typed, tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    own = "model-index:\n- name: mine\n  results:\n  - task: {type: image-classification}\n"
    own += "    dataset: {name: beans, type: beans}\n    metrics:\n    - {type: f1, value: 0.5}\n"
    cut = "<!-- robustbench_wb: begin -->"  # of a section whose end is lost
    card.write_text(f"---\nlicense: mit\n{own}---\n\n{cut}\n# Mine\n\nMy text.\n")
    typed("export", "hf", "--model", "crate-nano", "-o", str(card))
    typed("export", "hf", "--model", "vit-nano", "-o", str(card))
    text = card.read_text()
    assert text.count("## Robustness") == 1
    assert "# Mine\n\nMy text." in text
    data = ModelCard(text).data
    assert (data["license"], data["model_name"]) == ("mit", "mine")
    assert [one.metric_type for one in eval_results(text)] == ["f1", "accuracy", "accuracy"]
    again = typed("export", "hf", "--model", "vit-nano", "-o", str(card))
    assert (card.read_text(), again[1]) == (text, f"written to {card}\n")


def test_the_hub_reads_an_evaluation_result(results: str, typed: Typed) -> None:
    benchmark = ("--dataset", "me/robust-digits", "--task-id", "linf")
    out, _ = typed("export", "hf-results", *benchmark, "--model", "vit")
    (entry,) = parse_eval_result_entries(yaml.safe_load(out))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("me/robust-digits", "linf", 95.0)
    assert datetime.fromisoformat(str(entry.date)).utcoffset() is not None
    assert str(entry.notes).startswith(
        "robust accuracy at Linf 8/255: 95.0 [76.4, 99.1] (95 % interval, grade); n = 20"
    )
    clean, _ = typed("export", "hf-results", *benchmark, "--model", "vit", "--column", "clean")
    assert parse_eval_result_entries(yaml.safe_load(clean))[0].value == 100.0
    for wrong, message in (
        (("--column", "L7"), "--column 'L7' is unknown"),
        (("--dataset", "digits"), "like owner/name"),
    ):
        assert message in typed("export", "hf-results", *benchmark, "--model", "vit", *wrong, code=2)[1]


def test_robustbench_files(results: str, typed: Typed) -> None:
    content = json.loads(typed("export", "robustbench", "--model", "vit", "--title", "A paper", "--venue", "X")[0])
    assert content["footnote"].startswith("Linf 8/255: 95.0 [76.4, 99.1] % [95 % interval], over fgsm-linf@8/255")
    del content["footnote"]
    assert content == {
        "link": "",
        "name": "A paper",
        "authors": "",
        "additional_data": False,
        "number_forward_passes": 1,
        "dataset": "digits",
        "venue": "X",
        "architecture": "vit-nano",
        "eps": "8/255",
        "clean_acc": "100.00",
        "reported": "95.00",
        "unreliable": False,
    }
    crate = json.loads(typed("export", "robustbench", "--model", "crate", "--column", "Linf 8/255")[0])
    assert (crate["autoattack_acc"], crate["reported"]) == ("75.00", "75.00")


def test_corruptions_are_a_threat_model_of_robustbench(results: str, typed: Typed) -> None:
    rows = []
    for severity, broken in (("1", 2), ("5", 8)):
        outcome = [0] * (20 - broken) + [1] * broken
        made = record(outcome, signature=f"fog;severity={severity}", weights="d", ladder=())
        RecordStore("corrupted").append(made)
        rows.append(row(made, suite="corruption", stressor="fog", strength=severity))
    ScoreTable("corrupted").commit(rows, {})
    content = json.loads(typed("export", "robustbench", "--results", "corrupted")[0])
    assert (content["eps"], content["corruptions_acc"]) == (None, "75.00")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hf"], "--model names one of several models: 'vit-nano', 'crate-nano'"),
        (["hf", "--model", "bert"], "--model 'bert' is not in the table; known: 'vit-nano', 'crate-nano'"),
        (["robustbench", "--model", "vit", "--column", "Linf 9/255"], "did you mean Linf 8/255?"),
        (["tracker", "mlfow"], "unknown tracker 'mlfow'; did you mean mlflow?"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, results: str, typed: Typed) -> None:
    _, err = typed("export", *arguments, code=2)
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("tool", [["hf"], ["robustbench"], ["tracker", "tensorboard"]])
def test_an_upper_bound_is_no_robust_accuracy(tool: list[str], results: str, typed: Typed, tmp_path: Path) -> None:
    """Without records the lowest accuracy of the attacks is known, and not the joint one."""
    typed("leaderboard", "--csv", "rows.csv")
    Path(results).rename("elsewhere")
    _, err = typed("export", *tool, "rows.csv", "--model", "vit", code=2)
    assert "Linf 8/255 of vit-nano is only an upper bound" in err
    assert err.count("\n") == 1


def test_a_card_with_broken_metadata_is_refused(results: str, typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\na: [\n---\n")
    _, err = typed("export", "hf", "--model", "vit", "-o", str(tmp_path / "README.md"), code=2)
    assert "metadata" in err
    assert (tmp_path / "README.md").read_text() == "---\na: [\n---\n"


@pytest.mark.parametrize("tracker", TRACKERS.names())
def test_a_missing_library_is_named_with_its_extra(
    tracker: str, results: str, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, tracker, None)
    monkeypatch.setitem(sys.modules, f"{tracker}.summary", None)
    _, err = typed("export", "tracker", tracker, code=2)
    assert err == f"error: {tracker} is not installed; pip install 'robustbench_wb[{tracker}]'\n"


class Calls:
    """Stand-in for the library of a tracker, which notes the scalars that it is given."""

    def __init__(self) -> None:
        self.scalars: dict[str, float] = {}
        self.steps: set[int] = set()
        self.names: list[str] = []
        self.url, self.dir = None, "local files"

    def writer(self, folder: str) -> "Calls":
        self.names.append(folder)
        return self

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.log_metrics({name: value}, step)

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.scalars |= metrics
        self.steps.add(step)

    def start(self, *_: object, **named: object) -> nullcontext["Calls"]:
        self.names.append(str(named.get("name", named.get("run_name"))))
        return nullcontext(self)

    def module(self, name: str) -> ModuleType:
        made = ModuleType(name)
        nothing = SimpleNamespace(set_tracking_uri=print, set_experiment=print, log_params=print)
        made.__dict__.update(vars(nothing))
        made.__dict__.update(
            init=self.start,
            start_run=self.start,
            log_metrics=self.log_metrics,
            get_tracking_uri=lambda: "an address",
            Writer=self.writer,
        )
        return made

    def log(self, metrics: dict[str, float], step: int) -> None:
        self.log_metrics(metrics, step)

    def close(self) -> None:
        """End of the file."""


@pytest.mark.parametrize("tracker", TRACKERS.names())
def test_trackers_get_headline_numbers_and_evaluations(
    tracker: str, results: str, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls()
    for name in (tracker, f"{tracker}.summary"):
        monkeypatch.setitem(sys.modules, name, calls.module(name))
    _, err = typed("export", "tracker", tracker, "--model", "vit", "--place", "here")
    assert err.startswith("written to ")
    assert (len(calls.names), calls.steps) == (1, {1})
    assert calls.scalars[LINF] == 0.95
    assert calls.scalars[f"{LINF} low"] == pytest.approx(0.7639, abs=1e-4)
    assert calls.scalars["digits adversarial/evaluations/pgd-linf 8/255"] == 1.0


def test_a_failing_tracker_is_one_line(results: str, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = ModuleType("mlflow")
    monkeypatch.setitem(sys.modules, "mlflow", broken)
    assert "error: mlflow: AttributeError" in typed("export", "tracker", "mlflow", code=2)[1]


def needs(package: str) -> pytest.MarkDecorator:
    try:
        distribution(package)
    except PackageNotFoundError:
        return pytest.mark.skipif(True, reason=f"the extra {package} is not installed")
    return pytest.mark.slow(30)


@needs("tensorboard")
def test_tensorboard_reads_its_files(results: str) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert export_tracker("tensorboard", place="runs") == "runs"
    events = EventAccumulator("runs/vit-nano")
    events.Reload()
    tensor = events.Tensors(LINF)[0]
    assert (tensor.step, tensor.tensor_proto.float_val[0]) == (1, pytest.approx(0.95))


@needs("mlflow")
def test_mlflow_reads_its_store(results: str) -> None:
    import mlflow

    assert export_tracker("mlflow", model="vit", place="sqlite:///mlflow.db") == "sqlite:///mlflow.db"
    [run] = mlflow.search_runs(experiment_names=["robustbench_wb"], output_format="list")
    assert (run.info.run_name, run.data.metrics[LINF]) == ("vit-nano v1", 0.95)
    assert (run.data.params["variant"], run.data.params["commit"]) == ("vit", "0123456789abcdef")


@needs("wandb")
def test_wandb_writes_offline(results: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert "offline-run" in export_tracker("wandb", model="vit")
    assert list(Path("wandb").glob("offline-run-*/run-*.wandb"))
