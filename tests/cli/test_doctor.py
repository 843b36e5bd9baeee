"""The ``doctor`` command: each common mistake is planted in a model of its own, and must be reported."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustbench_wb.api import run as harness
from robustbench_wb.cli.app import run_cli
from robustbench_wb.engine import batch as batch_module
from robustbench_wb.engine.batch import kept_bytes
from robustbench_wb.engine.cost_forecast import passes
from robustbench_wb.engine.doctor import cost
from robustbench_wb.engine.doctor.cost import PassTimes
from robustbench_wb.engine.doctor.diagnose import examine
from robustbench_wb.engine.doctor.examined_model import ExaminedModel
from robustbench_wb.engine.doctor.forecast import forecast_cost
from robustbench_wb.engine.plan import Ladder
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.shape import ImageShape, TextShape
from robustbench_wb.models.variant import Size
from robustbench_wb.progress import SilentProgress
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.training.loop import TrainingData, TrainingState, make_optimizer, train
from tests.cli.planted_mistakes import HEAD, MISTAKES, NEAREST

Doctor = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Function that runs the command on a file with a given body, and returns the exit code and the JSON output."""

    def run(name: str, body: str, *options: str) -> tuple[int, dict[str, Any]]:
        path = tmp_path / f"{name}.py"
        path.write_text(
            f"{HEAD}{NEAREST if 'Nearest' in body else ''}\n{body}\n\ndef make(shape): return Model(shape)\n"
        )
        capsys.readouterr()
        code = run_cli(["doctor", f"{path}:make", "--device", "cpu", "--progress", "none", "--json", *options])
        return code, json.loads(capsys.readouterr().out)

    return run


def verdicts(found: dict[str, Any]) -> dict[str, str]:
    return {finding["check"]: finding["verdict"] for finding in found["findings"]}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_reported_with_its_fix(name: str, doctor: Doctor) -> None:
    body, check, verdict, words = MISTAKES[name]
    code, found = doctor(name, body)
    finding = next(finding for finding in found["findings"] if finding["check"] == check)
    assert finding["verdict"] == verdict, found["findings"]
    assert words in finding["fix"]
    assert "\n" not in finding["measured"] + finding["fix"]
    assert code == (4 if "fail" in verdicts(found).values() else 0)
    if verdict == "warn":
        assert set(verdicts(found).values()) <= {"ok", "warn", "skipped"}


def test_each_planted_mistake_is_a_class_of_its_own() -> None:
    """Each mistake is planted once, and each check has a mistake to find. Correct models pass all checks below."""
    assert len({body for body, *_ in MISTAKES.values()}) == len(MISTAKES)
    assert {check for _, check, *_ in MISTAKES.values()} >= {
        "answers", "dtype", "finite", "logits", "eval mode", "determinism", "batch invariance", "gradient",
        "finite differences", "input range", "normalisation", "class order",
    }  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        "class Model(Good): pass",
        # The right conversion inside the model, and normalisation by a layer.
        "class Model(Nearest):\n def feed(self, x): return x * 255\n"
        " def forward(self, x): return super().forward(x * 255)",
        "class Model(Good):\n def __init__(self, shape):\n  super().__init__(shape)\n  self.first = nn.BatchNorm2d(1)\n"
        " def normalise(self, x): return self.first(x)",
        "class Model(Good):\n pretrained_cfg = {'label_names': list('0123456789')}",
        # Pixels without normalisation, which the first layer classifies well: the weights were trained on them.
        "class Model(nn.Module):\n def __init__(self, shape):\n  super().__init__()\n"
        "  means, self.map = Nearest(shape).means.detach(), nn.Linear(64, 10)\n"
        "  self.map.weight.data, self.map.bias.data = 2 * means, -means.square().sum(1)\n"
        " def forward(self, x): return self.map(x.flatten(1))",
    ],
)
def test_a_correct_model_passes_every_check(body: str, doctor: Doctor) -> None:
    code, found = doctor("good", body)
    assert code == 0
    assert set(verdicts(found).values()) <= {"ok", "skipped"}, found["findings"]
    assert found["parameters"] > 0
    assert found["task"] == "digits"
    assert all(finding["fix"] == "" for finding in found["findings"])
    assert verdicts(found)["gradient"] == verdicts(found)["finite differences"] == "ok"


@pytest.mark.parametrize("cast", ["x", "x.float()"])
def test_ties_and_kinks_of_max_pooling_are_no_wrong_gradient(cast: str, doctor: Doctor) -> None:
    """The flat background of the enlarged digits has ties everywhere; with a cast, float32 steps cross many kinks."""
    body = (
        "class Model(nn.Module):\n def __init__(self, shape):\n  super().__init__()\n"
        "  self.conv, self.out = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8 * 256, shape.classes)\n"
        f" def forward(self, x):\n  x = {cast} / 0.35 - 0.8\n"
        "  x = F.conv2d(x, self.conv.weight.to(x.dtype), self.conv.bias.to(x.dtype), padding=1)\n"
        "  return self.out(F.max_pool2d(x.relu(), 2).flatten(1).to(self.out.weight.dtype))"
    )
    code, found = doctor("pooled", body, "--task", "digits-32")
    assert verdicts(found)["finite differences"] == "ok", found["findings"]
    assert code == 0


def test_batch_normalisation_of_one_sample_is_said(doctor: Doctor) -> None:
    body = (
        "class Model(Good):\n def __init__(self, shape):\n  super().__init__(shape)\n"
        "  self.last = nn.BatchNorm1d(shape.classes)\n"
        " def forward(self, x): return self.last(super().forward(x))"
    )
    for name, model, said in (("last", body, True), ("good", "class Model(Good): pass", False)):
        code, found = doctor(name, model)
        (finding,) = [one for one in found["findings"] if one["check"] == "batch invariance"]
        assert (code, finding["verdict"]) == (0, "ok")
        assert ("leaves out a last batch of one sample" in finding["measured"]) == said


@pytest.mark.parametrize("variant", ["vit", "crate"])
def test_registered_variants_pass_every_check(variant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["doctor", variant, "--device", "cpu", "--progress", "none"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{variant}-nano on digits, cpu"
    assert lines[-1] == "16 checks: 0 failed, 0 with warnings"
    assert not any(line.startswith(("fail:", "warn:")) for line in lines)


def test_help_explains_the_exit_codes() -> None:
    script = "import sys; from robustbench_wb.cli.app import run_cli; run_cli(['doctor', '--help'])\n"
    script += "sys.exit('torch was imported' if 'torch' in sys.modules else 0)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    assert "The exit code is 0 when no check failed (warnings are allowed), otherwise 4." in words
    for word in ("Examples", "--batch", "--suite", "--checkpoint", "--json"):
        assert word in words


@pytest.mark.slow(6)
def test_the_table_fits_the_width_and_ends_with_the_fixes(tmp_path: Path, cache: str) -> None:
    (tmp_path / "soft.py").write_text(f"{HEAD}\ndef make(shape): return nn.Sequential(Good(shape), nn.Softmax(1))\n")
    done = subprocess.run(
        [sys.executable, "-m", "robustbench_wb", "doctor", "soft.py:make", "--device", "cpu"],
        cwd=tmp_path, env={**os.environ, "RBWB_CACHE_DIR": cache}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    *table, fix, last = done.stdout.splitlines()
    assert max(map(len, table)) <= 100
    assert fix.startswith("fail: logits: remove the softmax")
    assert last == "16 checks: 1 failed, 0 with warnings"
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vti"], "unknown variant 'vti'; did you mean vit"),
        (["nowhere.py:make"], "does not exist"),
        (["vit", "--size", "huge"], "no size 'huge'"),
        (["vit", "--task", "digit"], "did you mean digits"),
        (["vit", "--suite", "adverserial"], "did you mean adversarial"),
        (["vit", "--batch", "0"], "--batch-size"),
        (["vit", "--checkpoint", "nowhere.safetensors"], "does not exist"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["doctor", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert words in told.err
    assert told.err.count("\n") == 1


def test_the_checkpoint_is_examined(tmp_path: Path, doctor: Doctor) -> None:
    from safetensors.torch import save_file

    body = "class Model(Good): pass"
    _, before = doctor("good", body)
    file = tmp_path / "weights.safetensors"
    namespace: dict[str, Any] = {}
    exec(HEAD, namespace)
    shape = PreparedRun(RunRequest(device="cpu"), SilentProgress())
    model = namespace["Good"](type("Shape", (), {"classes": len(shape.datasets[0].classes)}))
    with torch.no_grad():
        model.conv.weight.fill_(float("nan"))
    save_file(model.state_dict(), file)
    code, after = doctor("good", body, "--checkpoint", str(file))
    assert verdicts(before)["finite"] == "ok"
    assert verdicts(after)["finite"] == "fail"
    assert code == 4


def test_the_forecast_counts_the_passes_that_a_run_makes(tmp_path: Path) -> None:
    """Compared with a run in which no sample is ever broken, so that every sample spends the whole budget."""
    (tmp_path / "sure.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Sure(nn.Module):\n"
        " def __init__(self):\n  super().__init__()\n  self.scale = nn.Parameter(torch.ones(1))\n"
        " def forward(self, x): return torch.eye(10)[6] * 1e3 + x.flatten(1)[:, :10] * self.scale\n"
        "def make(shape): return Sure()\n"
    )
    attacks = ("pgd-linf;eps=8/255;steps=5;restarts=2", "fgsm-l2;eps=1/8", "noise-linf;eps=1/255")
    request = RunRequest(
        variants=(f"{tmp_path / 'sure.py'}:make",), recipe="none", samples=12, stressors=attacks, device="cpu"
    )
    report = harness.run(request, str(tmp_path / "results"))
    right = report.rows[0].robust
    assert right > 0
    assert [row.broken for row in report.rows] == [0, 0, 0, 0]
    for row, signature in zip(report.rows, ("clean", *attacks), strict=True):
        tried = 12 if signature == "clean" else right
        spent = (round(row.forwards * 12 / tried, 6), round(row.backwards * 12 / tried, 6))
        assert spent == passes(Ladder((parse_stressor(signature),)))
    job = PreparedRun(request, SilentProgress())
    found = forecast_cost(job.plan, job.datasets[0], PassTimes(forward=2.0, backward=3.0, training=5.0))
    assert (found.cells, found.samples, found.train_samples) == (4, 12, 0)
    assert found.forwards == 12 * (1 + 25 + 3 + 11)
    assert found.backwards == 12 * (20 + 1)
    assert found.seconds == 2 * found.forwards + 3 * found.backwards
    trained = PreparedRun(request.model_copy(update={"recipe": "standard", "stressors": ()}), SilentProgress())
    found = forecast_cost(trained.plan, trained.datasets[0], PassTimes(forward=0.0, backward=0.0, training=1.0))
    assert found.train_samples == found.seconds == 30 * 1437


class Counting(nn.Module):
    """Model that counts the images of its forward passes and of its gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.forwards, self.backwards = nn.Linear(64, 10), 0, 0

    def forward(self, images: Tensor) -> Tensor:
        self.forwards += len(images)
        logits = self.linear(images.flatten(1))
        if logits.requires_grad:
            logits.register_hook(self.count)
        return logits

    def count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


@pytest.mark.parametrize("recipe", ["pgd-at", "trades"])
def test_the_forecast_counts_the_passes_of_adversarial_training(recipe: str) -> None:
    """Compared with a model that counts the images of its forward passes and gradients."""
    request = RunRequest(variants=("vit",), recipe=recipe, samples=1, stressors=("clean",), device="cpu")
    job = PreparedRun(request, SilentProgress())
    whole = job.plan.tasks[0].subjects[0].recipe
    found = forecast_cost(job.plan, job.datasets[0], PassTimes(forward=1.0, backward=1.0, training=0.0))
    model = Counting()
    short, split = whole.model_copy(update={"epochs": 1}), job.datasets[0].train
    data = TrainingData(torch.tensor(split.inputs[:64]), torch.tensor(split.labels[:64]))
    train(
        model,
        make_optimizer(model, short),
        data,
        recipe=short,
        seed=0,
        position=TrainingState(0, 0.0),
        advance=lambda n: None,
        snapshot=lambda p: None,
    )
    each = whole.epochs * len(split)
    # One forward pass and one gradient are those of plain training; the clean cell of one sample takes one pass.
    assert found.forwards == each * (model.forwards // 64 - 1) + 1
    assert found.backwards == each * (model.backwards // 64 - 1)
    assert found.train_samples == each


def test_stressors_of_unknown_cost_are_named() -> None:
    assert passes(Ladder((parse_stressor("torchattacks:PGD;eps=8/255"),))) is None
    job = PreparedRun(
        RunRequest(variants=("vit",), stressors=("torchattacks:PGD;eps=8/255",), device="cpu"), SilentProgress()
    )
    assert forecast_cost(job.plan, job.datasets[0], PassTimes(forward=1.0, backward=1.0, training=1.0)).uncounted == (
        "torchattacks",
    )


class _Gpu:
    """Memory of a device of 1,000 bytes on which one sample takes ``each`` bytes."""

    def __init__(self, each: int, raises_at: int = 1 << 30) -> None:
        self.each, self.raises_at, self.batch, self.largest = each, raises_at, 0, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.batch, self.largest = len(x), max(self.largest, len(x))
        if len(x) >= self.raises_at:
            raise torch.OutOfMemoryError("out of memory")
        return x.flatten(1)


@pytest.mark.parametrize(
    ("each", "raises_at", "safe", "tried"), [(10, 1 << 30, 32, 64), (1, 16, 8, 16), (600, 9, 0, 1)]
)
def test_on_a_gpu_the_batch_is_doubled_until_half_of_the_free_memory(
    each: int, raises_at: int, safe: int, tried: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = _Gpu(each, raises_at)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 77)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 77 + gpu.each * gpu.batch)
    model = nn.Module()
    model.forward = gpu.forward
    found, measured = batch_module.batch_by_trial(model, torch.rand(3, 1, 2, 2))
    assert (found, gpu.largest) == (safe, tried)
    assert f"at batch {safe}" in measured


def test_a_batch_that_does_not_fit_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = ImageShape(channels=1, height=2, width=2, classes=3, patch=2)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 5, bias=False), nn.Tanh(), nn.Linear(5, 3)).requires_grad_(False)
    examined = ExaminedModel(
        model=model,
        shape=shape,
        inputs=torch.rand(8, 1, 2, 2),
        labels=torch.zeros(8, dtype=torch.int64),
        classes=("a", "b", "c"),
    )
    # Autograd keeps 5 floats, doubled 40 bytes, per sample. 16 samples take 640 bytes; half of 1,400 bytes are free.
    monkeypatch.setattr(batch_module, "free_bytes", lambda: 1400)
    assert cost.check_memory(examined, 16).verdict == "ok"
    found = cost.check_memory(examined, 17)
    assert found.verdict == "warn"
    assert "40 B per sample" in found.measured
    assert found.fix.startswith("use --batch-size 16")
    monkeypatch.setattr(batch_module, "free_bytes", lambda: None)
    assert cost.check_memory(examined, 16).verdict == "skipped"


@pytest.mark.parametrize("causal", [False, True])
def test_text_models_are_examined_by_the_checks_that_apply(causal: bool) -> None:
    shape = TextShape(vocabulary=11, length=6, classes=11 if causal else 3, causal=causal)
    variant = VARIANTS.get("vit" if causal else "bert").model_copy(
        update={"sizes": {"toy": Size(width=8, depth=1, heads=2)}}
    )
    model = build(variant, "toy", shape, seed=0).eval().requires_grad_(False)
    tokens = torch.randint(1, 11, (40, 6), generator=torch.Generator().manual_seed(0))
    tokens[1, 3:] = 0
    labels = torch.arange(40) % shape.classes
    examined = ExaminedModel(model=model, shape=shape, inputs=tokens, labels=labels, classes=("a", "b", "c"))
    findings = {finding.check: finding for finding in examine(examined, lambda count: None)}
    assert {finding.verdict for finding in findings.values()} == {"ok", "skipped"}, findings
    ok = {"answers", "dtype", "finite", "logits", "eval mode", "determinism", "batch invariance", "head"}
    assert {name for name, finding in findings.items() if finding.verdict == "ok"} == ok
    broken = replace(examined, model=nn.Sequential(model, nn.Softmax(-1)))
    assert {f.check for f in examine(broken, lambda count: None) if f.verdict == "fail"} == {"logits"}


def test_kept_bytes_are_the_bytes_of_the_activations() -> None:
    """For the input gradient of tanh(x W^T), autograd keeps the output of tanh. W is not counted."""
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Tanh()).requires_grad_(False)
    assert kept_bytes(model, torch.rand(7, 6)) == 7 * 5 * 4
