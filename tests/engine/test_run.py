"""Whole runs through the front door, on the embedded task and models small enough to measure in moments."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from robustbench_wb import equivalences, source
from robustbench_wb.api import run as harness
from robustbench_wb.api.compare import compare
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import CheckpointError, ExitCode, UsageError
from robustbench_wb.records.record import State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.engine.linear_model import LINEAR
from tests.known import a, known

MODEL = f"""{LINEAR}
class Broken(Linear):
    def forward(self, images):
        return super().forward(images) * float("nan")

def nan(shape):
    return Broken(shape)

class Wide(Linear):
    def forward(self, images):
        return super().forward(images)[:, :7]

def wide(shape):
    return Wide(shape)

class Sometimes(Linear):
    def forward(self, images):
        logits = super().forward(images)
        pixels = images.flatten(1)
        return torch.where((pixels[:, 20:21] > 0.9) & (pixels[:, :1] < 0.1), logits * float("nan"), logits)

def sometimes(shape):
    return Sometimes(shape)

class Fragile(Linear):
    def forward(self, images):
        if images.requires_grad:
            raise ValueError("no gradients here")
        return super().forward(images)

def fragile(shape):
    return Fragile(shape)

def not_a_module(shape):
    return "a string"
"""
STRESSORS = ("pgd-linf;eps=8/255;steps=5", "fgsm-l2;eps=1/2")


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., str]:
    """A function that writes the file above (with a replaced text) and names a factory in it."""

    def write(factory: str = "make", old: str = "", new: str = "", name: str = "model.py") -> str:
        path = tmp_path / name
        path.write_text(MODEL.replace(old, new) if old else MODEL)
        return f"{path}:{factory}"

    return write


def request(variant: str, **changes: object) -> RunRequest:
    fields = {"variants": (variant,), "stressors": STRESSORS, "samples": 120, "device": "cpu"}
    return RunRequest.model_validate({**fields, **changes})


def numbers(rows: Sequence[ScoreRow]) -> list[dict[str, object]]:
    """Rows without what may differ between two equal runs: times."""
    return [row.model_dump(exclude={"seconds", "train_seconds", "checksum"}) for row in rows]


def test_a_run_measures_then_reuses_everything(model: Callable[..., str], tmp_path: Path) -> None:
    results = str(tmp_path / "results")
    first = harness.run(request(model()), results)
    again = harness.run(request(model()), results)
    assert (first.measured, first.reused, first.version) == (3, 0, 1)
    assert (again.measured, again.reused, again.trained, again.version) == (0, 3, 0, 2)
    assert numbers(first.rows) == numbers(again.rows)
    assert first.exit_code == ExitCode.OK
    clean, pgd, fgsm = first.rows
    assert known(clean.accuracy) > 0.8
    assert known(pgd.accuracy) < known(clean.accuracy)
    assert known(clean.low) < known(clean.accuracy) < known(clean.high)
    assert [row.n for row in first.rows] == [120] * 3
    assert pgd.robust + pgd.broken + pgd.wrong == 120
    assert pgd.wrong == fgsm.wrong == clean.wrong
    assert clean.wobble == pgd.wobble == fgsm.wobble == 0


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"stressors": ("pgd-linf;eps=9/255;steps=5", "fgsm-l2;eps=1/2")},
        {"stressors": ("pgd-linf;eps=8/255;steps=6", "fgsm-l2;eps=1/2")},
        {"samples": 121},
        {"recipe": "none"},
    ],
    ids=str,
)
def test_what_can_change_a_number_is_measured_again(
    change: dict[str, object], model: Callable[..., str], tmp_path: Path
) -> None:
    results = str(tmp_path / "results")
    harness.run(request(model()), results)
    assert harness.run(request(model(), **change), results).measured > 0


@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 7, 64])
def test_batch_size_changes_nothing(batch: int, model: Callable[..., str], tmp_path: Path) -> None:
    default = harness.run(request(model()), str(tmp_path / "a"))
    small = harness.run(request(model(), batch=batch), str(tmp_path / "b"))
    assert small.measured == 3
    assert [row.key for row in small.rows] == [row.key for row in default.rows]
    a = RecordStore(str(tmp_path / "a")).find([row.key for row in default.rows])
    b = RecordStore(str(tmp_path / "b")).find([row.key for row in default.rows])
    for key, record in a.items():
        np.testing.assert_array_equal(record.states, b[key].states)
    assert harness.run(request(model(), batch=batch), str(tmp_path / "a")).reused == 3


@pytest.mark.slow(3)
def test_one_line_of_model_code_measures_again_and_a_comment_does_not(
    model: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "cache"))
    results = str(tmp_path / "results")
    harness.run(request(model()), results)
    model("make", "SCALE = 1.0", "SCALE = 1.0  # as before")
    source.forget()
    assert harness.run(request(model()), results).measured == 0
    changed = model("make", "SCALE = 1.0", "SCALE = 1.5")
    source.forget()
    report = harness.run(request(changed), results)
    assert (report.measured, report.trained) == (3, 1)


@pytest.mark.slow(5)
def test_a_record_of_code_that_is_listed_as_equivalent_is_reused(
    model: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, listed = str(tmp_path / "results"), tmp_path / "equivalences.json"
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(equivalences, "LISTED", listed)

    def code(pairs: list[tuple[str, str]], scale: str) -> str:
        """The digest of the model with such a scale, and the list from now on."""
        listed.write_text(json.dumps({"equivalences": [{"old": old, "new": new} for old, new in pairs]}))
        equivalences.read_equivalences.cache_clear()
        model("make", "SCALE = 1.0", f"SCALE = {scale}")
        source.forget()
        return source.source_digest((tmp_path / "model.py").read_bytes())

    path = f"{model()}:make".removesuffix(":make")
    first, second, third = (code([], scale) for scale in ("1.0", "2.0 / 2.0", "3.0 / 3.0"))
    assert len({first, second, third}) == 3
    code([], "1.0")
    before = harness.run(request(path), results)
    chain = [(first, second), (second, third)]
    assert code(chain, "3.0 / 3.0") == first
    again = harness.run(request(path), results)
    assert (again.measured, again.trained, again.reused) == (0, 0, 3)
    assert [row.key for row in again.rows] == [row.key for row in before.rows]
    code(chain[1:], "3.0 / 3.0")  # the chain ends too early
    unlisted = harness.run(request(path), results)
    assert (unlisted.measured, unlisted.trained) == (3, 1)
    code(chain, "1.5")
    assert harness.run(request(path), results).measured == 3


def test_one_line_of_attack_code_measures_that_attack_again(
    model: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from robustbench_wb.stressors.attacks.pgd import PgdLinf

    results = str(tmp_path / "results")
    first = harness.run(request(model()), results)
    monkeypatch.setattr(PgdLinf, "code", lambda self: "another digest")
    again = harness.run(request(model()), results)
    assert (again.measured, again.reused) == (1, 2)
    assert again.rows[1].key != first.rows[1].key
    comparison = compare("v1", "v2", results)
    assert comparison.exit_code == ExitCode.OK  # the clean cells can be compared
    refused = [pair for pair in comparison.pairs if pair.verdict == "not comparable"]
    assert [[item.field for item in pair.differing] for pair in refused] == [["stressor_code"]]


def test_one_weight_of_a_checkpoint_measures_again(model: Callable[..., str], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    weights = {"map.weight": torch.randn(10, 64), "map.bias": torch.zeros(10)}
    path, results = tmp_path / "weights.safetensors", str(tmp_path / "results")
    save_file(weights, path)
    first = harness.run(request(model(), checkpoint=str(path)), results)
    assert first.rows[0].recipe == "checkpoint"
    assert harness.run(request(model(), checkpoint=str(path)), results).measured == 0
    weights = load_file(path)
    weights["map.weight"][3, 5] = torch.nextafter(weights["map.weight"][3, 5], torch.tensor(9.0))
    save_file(weights, path)
    assert harness.run(request(model(), checkpoint=str(path)), results).measured == 3


def test_two_models_of_one_file_are_never_taken_for_each_other(model: Callable[..., str], tmp_path: Path) -> None:
    file = model().removesuffix(":make")
    reports = [harness.run(request(f"{file}:{name}", recipe="none"), str(tmp_path / "r")) for name in ("make", "nan")]
    assert [report.rows[0].status for report in reports] == ["ok", "error"]


def test_a_ladder_is_tried_where_it_breaks(model: Callable[..., str], tmp_path: Path) -> None:
    results = str(tmp_path / "results")
    attack = ("pgd-linf;eps=1/255;steps=5",)
    report = harness.run(request(model(), stressors=attack, epsilons=("16/255", "4/255", "8/255")), results)
    rungs = report.rows[1:]
    assert [row.strength for row in rungs] == ["4/255", "8/255", "16/255"]
    assert [row.ladder for row in rungs] == ["4/255 8/255 16/255"] * 3
    accuracies = [known(row.accuracy) for row in report.rows]
    assert accuracies == sorted(accuracies, reverse=True)
    records = RecordStore(results).find([row.key for row in rungs])
    low, middle, high = (records[row.key] for row in rungs)
    for lower, upper in ((low, middle), (middle, high)):
        broken = lower.states == State.BROKEN
        assert broken.any()
        assert (upper.states[broken] == State.BROKEN).all()
    # Every sample has held in full, two runs of five steps, at the largest radius where it is robust, and is broken by
    # what was tried at the next; for most that is all.
    states = np.stack([record.states for record in (low, middle, high)])
    backwards = np.stack([record.backwards for record in (low, middle, high)])
    forwards = np.stack([record.forwards for record in (low, middle, high)])
    robust = (states == State.ROBUST).sum(0)
    for level in range(3):
        assert (backwards[level, robust == level + 1] >= 10).all()
        assert (forwards[level, (robust == level) & (states[0] != State.WRONG)] > 0).all()
    assert ((backwards[:2] > 0).sum(0) < 2).sum() > 0
    alone = harness.run(request(model(), stressors=attack, epsilons=("8/255",)), results).rows[1]
    assert known(rungs[1].accuracy) <= known(alone.accuracy)


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("raises", "another planet"),
        ("nan", "not finite"),
        ("wide", "7"),
        ("not_a_module", "torch.nn.Module"),
    ],
)
def test_a_bad_model_is_an_error_row_and_stops_nobody(
    factory: str, words: str, model: Callable[..., str], tmp_path: Path
) -> None:
    results = str(tmp_path / "results")
    good, bad = model(), model(factory, name="bad.py")
    report = harness.run(request(bad, variants=(bad, good)), results)
    assert report.exit_code == ExitCode.INCOMPLETE
    failed, fine = report.rows[:3], report.rows[3:]
    assert {row.status for row in failed} == {"error"}
    assert {row.status for row in fine} == {"ok"}
    assert all(words in row.error and "\n" not in row.error for row in failed)
    assert all(row.accuracy is None and row.accuracy_high is None for row in failed)
    # Errors are shown, never kept: the same command tries again.
    assert harness.run(request(bad, variants=(bad, good)), results).reused == 3


def test_an_attack_that_raises_is_an_error_row(model: Callable[..., str], tmp_path: Path) -> None:
    report = harness.run(request(model("fragile"), recipe="none"), str(tmp_path / "results"))
    clean, pgd, _ = report.rows
    assert clean.status == "ok"
    assert pgd.status == "error"
    assert "ValueError: no gradients here" in pgd.error
    assert (pgd.accuracy, pgd.accuracy_high) == (None, None)


def test_a_model_without_gradients_is_attacked_by_black_boxes(model: Callable[..., str], tmp_path: Path) -> None:
    black = ("square-linf;eps=32/255;queries=60", "noise-linf;eps=32/255")
    report = harness.run(request(model("fragile"), recipe="none", stressors=black), str(tmp_path / "results"))
    clean, square, noise = report.rows
    assert {row.status for row in report.rows} == {"ok"}
    assert square.robust <= noise.robust <= clean.robust
    assert square.broken > 0
    whole = harness.run(request(model(), recipe="none", stressors=black), str(tmp_path / "results")).rows
    assert [row.robust for row in whole] == [row.robust for row in report.rows]


def test_samples_that_cannot_be_judged_are_never_robust(model: Callable[..., str], tmp_path: Path) -> None:
    results = str(tmp_path / "results")
    whole = harness.run(request(model(), recipe="none"), results)
    partly = harness.run(request(model("sometimes", name="partly.py"), recipe="none"), results)
    assert partly.exit_code == ExitCode.INCOMPLETE
    for row, reference in zip(partly.rows, whole.rows, strict=True):
        assert row.errored > 0
        assert row.status == "incomplete"
        assert known(row.accuracy) <= known(reference.accuracy)
        assert row.robust + row.broken + row.wrong + row.errored + row.not_run == row.n
    assert harness.run(request(model("sometimes", name="partly.py"), recipe="none"), results).reused == 0


def test_a_diverging_training_is_an_error_row_without_checkpoint(
    model: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "cache"))
    wild = model("make", "SCALE = 1.0", "SCALE = 1e38")
    source.forget()
    report = harness.run(request(wild), str(tmp_path / "results"))
    assert report.exit_code == ExitCode.INCOMPLETE
    assert all("diverged" in row.error or "not finite" in row.error for row in report.rows)
    assert not list((tmp_path / "cache" / "checkpoints").glob("*.safetensors"))


@pytest.mark.slow(2)
def test_a_changed_model_shows_in_the_diff(model: Callable[..., str], tmp_path: Path) -> None:
    results = str(tmp_path / "results")
    harness.run(request(model()), results)
    changed = model("make", "images.flatten(1) - 0.3", "images.flatten(1) * (images.flatten(1) > 0.8)")
    source.forget()
    harness.run(request(changed), results)
    comparison = compare("v1", "v2", results)
    assert comparison.exit_code == ExitCode.OK
    assert any(pair.lost or pair.gained for pair in comparison.pairs)
    for pair in comparison.pairs:
        assert None not in (pair.lost, pair.both, pair.gained)
        assert known(pair.both) + known(pair.lost) == pair.old.robust
        assert known(pair.both) + known(pair.gained) == pair.new.robust


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"suite": "adversarail"}, UsageError, "did you mean adversarial"),
        ({"tasks": ("digit",)}, UsageError, "did you mean digits"),
        ({"variants": ("crete",)}, UsageError, "did you mean crate"),
        ({"variants": ("vit",), "size": "huge"}, UsageError, "no size 'huge'"),
        ({"variants": ()}, UsageError, "at least one variant"),
        ({"recipe": "secret"}, UsageError, "unknown recipe"),
        ({"device": "abacus"}, UsageError, "abacus"),
        ({"device": "cuda:99"}, UsageError, "cuda:99"),
        ({"epsilons": ("-1/255",)}, UsageError, "greater than 0"),
        ({"checkpoint": "nowhere.safetensors"}, CheckpointError, "does not exist"),
        ({"checkpoint": "x", "variants": ("vit", "crate")}, UsageError, "exactly one"),
    ],
    ids=str,
)
def test_a_bad_request_writes_nothing(
    change: dict[str, object], error: type[UsageError], words: str, model: Callable[..., str], tmp_path: Path
) -> None:
    results = tmp_path / "results"
    with pytest.raises(error) as caught:
        harness.run(request(model(), **change), str(results))
    assert words in str(caught.value)
    assert not results.exists()


def test_each_version_says_where_it_came_from(model: Callable[..., str], tmp_path: Path) -> None:
    results = str(tmp_path / "results")
    harness.run(request(model(), seed=3), results, command="robustbench-wb run --seed 3")
    (info,) = ScoreTable(results).versions()
    assert info.provenance["seed"] == 3
    assert info.provenance["device"] == "cpu"
    assert info.provenance["command"] == "robustbench-wb run --seed 3"
    assert a(dict, info.provenance["spec"])["samples"] == 120
    assert a(dict, info.provenance["packages"])["torch"]


def test_smaller_sample_counts_are_contained_in_larger_ones(digits: object) -> None:
    from robustbench_wb.engine.task_samples import choose_samples
    from robustbench_wb.tasks.digits import DIGITS

    dataset = DIGITS.load(None)
    few, many = choose_samples(dataset, 50), choose_samples(dataset, 200)
    assert set(few.ids) < set(many.ids)
    assert (np.diff(many.ids) > 0).all()
    np.testing.assert_array_equal(many.inputs, dataset.test.inputs[many.ids])
    assert len(choose_samples(dataset, 10_000)) == 360


def test_samples_that_all_fell_at_a_lower_strength_leave_nothing_to_ask(tmp_path: Path) -> None:
    attack = {"stressors": ("pgd-linf;eps=1/2;steps=2",), "epsilons": ("1/2", "1")}
    request = RunRequest(variants=("vit",), recipe="none", samples=20, device="cpu", **attack)
    clean, *attacked = harness.run(request, str(tmp_path)).rows
    assert clean.robust > 0
    assert [(row.status, row.robust, row.broken) for row in attacked] == [("ok", 0, clean.robust)] * 2
    assert attacked[1].grade


def test_attacks_on_texts_share_the_samples_of_the_clean_cell(tmp_path: Path) -> None:
    request = RunRequest(
        tasks=("sentences",),
        variants=("bert",),
        recipe="none",
        samples=6,
        stressors=("hotflip;budget=1",),
        device="cpu",
    )
    found = harness.run(request, str(tmp_path))
    clean, attacked = found.rows
    assert (clean.data, clean.samples) == (attacked.data, attacked.samples)
    assert "+" in attacked.stressor_code  # words of the training split
    (panel,) = found.headline.panels
    number = known(panel.main_number(panel.rows[0]))
    assert number.robust == attacked.robust  # no bound: the samples are known to be the same
