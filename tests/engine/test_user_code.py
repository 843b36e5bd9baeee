"""Models run inside the process of the harness, and cannot reach out of their place."""

import json
import os
import random
import shutil
import signal
import site
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from robustbench_wb import evaluate, norms
from robustbench_wb.cli.app import run_cli
from robustbench_wb.engine import batch
from robustbench_wb.engine.time_limit import time_limit
from robustbench_wb.errors import MESSAGE_LENGTH, MeasurementError, SubjectError, UsageError, as_measurement_error
from robustbench_wb.float_precision import Precision, exact_float32, read_precision, write_precision
from robustbench_wb.interrupts import OutOfTimeError, watching_interrupts
from robustbench_wb.models.guarded import guard
from robustbench_wb.models.providers import file
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.models.word_embeddings import WordEmbeddings
from robustbench_wb.registry import import_target
from robustbench_wb.user_code import UserCode
from tests.engine import hostile

Rows = list[dict[str, Any]]
STRESSORS = ("pgd-linf;eps=16/255;steps=2", "noise-linf;eps=32/255", "gaussian-noise;severity=5")


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Rows]:
    """Run models of ``hostile.py``, and others by their name; the rows that ``--json`` prints."""
    shutil.copy(hostile.__file__, tmp_path / "hostile.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(UserCode, "owns_process", True)

    def run(*models: str, stressors: tuple[str, ...] = STRESSORS, recipe: str = "none", code: int = 0) -> Rows:
        named = [f"hostile.py:{model}" if model[0].isupper() or "_" in model else model for model in models]
        options = [part for name in named for part in ("--variant", name)]
        options += [part for stressor in stressors for part in ("--stressor", stressor)]
        fixed = ("--json", "--samples", "24", "--recipe", recipe, "--progress", "none", "--results", "results")
        capfd.readouterr()
        assert run_cli(["run", *options, *fixed]) == code, capfd.readouterr().err
        found: Rows = json.loads(capfd.readouterr().out)["rows"]
        return found

    return run


def _numbers(found: Rows, model: str) -> list[tuple[object, ...]]:
    return [(row["stressor"], row["accuracy"], row["status"]) for row in found if row["variant"].endswith(model)]


@pytest.mark.slow(2)
def test_a_model_that_writes_to_its_inputs_gets_the_numbers_of_the_honest_one(rows: Callable[..., Rows]) -> None:
    found = rows("InPlace", "BehindAutograd", "ThroughNumpy", "Honest")
    honest = _numbers(found, ":Honest")
    assert [row[2] for row in honest] == ["ok"] * 4
    words = "the model changes its input in place, unseen by autograd"
    assert {row["variant"] for row in found if words in row["checks"]} == {"hostile.py:BehindAutograd"}
    for model in (":InPlace", ":BehindAutograd", ":ThroughNumpy"):
        assert _numbers(found, model) == honest


@pytest.mark.slow(2)
def test_the_next_model_is_unharmed_and_output_stays_json(rows: Callable[..., Rows], tmp_path: Path) -> None:
    exact_float32(torch)  # as every run does
    state, settings = _generators(), _settings()
    found = rows("Interferes", "Honest", "crate")
    assert _numbers(found, ":Interferes") == _numbers(found, ":Honest")
    assert _settings() == settings
    assert _generators() == state
    assert (tmp_path / "results").is_dir()
    shutil.rmtree(tmp_path / "results")
    assert _numbers(rows("crate"), "crate") == _numbers(found, "crate")


def _generators() -> tuple[object, ...]:
    return random.getstate(), str(np.random.get_state(legacy=False)), torch.get_rng_state().tolist()


def _settings() -> tuple[object, ...]:
    return (
        Path.cwd(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cuda.math_sdp_enabled(),
        warnings.filters[:],
        np.geterr(),
        sys.path[:],
        sys.getrecursionlimit(),
        sys.stdout,
        read_precision(torch),
        int(torch.tensor([0.0, 1.0]).argmax()),  # 0 in a mode that hides answers
        torch.is_autocast_enabled("cpu"),
        torch.nn.functional.cross_entropy,
        torch.Tensor.argmax,
    )


def test_models_in_other_number_formats_are_measured_and_attacked(rows: Callable[..., Rows]) -> None:
    models = ("format_bfloat16", "format_float16", "format_float64", "Plain", "ReturnsNothing", "Honest")
    found = rows(*models, stressors=STRESSORS[:1])
    assert _numbers(found, ":ReturnsNothing") == _numbers(found, ":Honest")
    assert _numbers(found, "_float64") == _numbers(found, ":Plain")
    assert {row["status"] for row in found} == {"ok"}
    assert not {row["grade"] for row in found} & {"C", "F"}
    for plain, *others in zip(*(_numbers(found, name) for name in (":Plain", "_bfloat16", "_float16")), strict=True):
        for other in others:
            assert other[1] == pytest.approx(plain[1], abs=2 / 24)


@pytest.mark.slow(10)
def test_models_in_16_bits_are_trained(rows: Callable[..., Rows]) -> None:
    (found,) = rows("format_bfloat16", recipe="standard", stressors=("clean",))
    assert (found["status"], found["accuracy"] > 0.7) == ("ok", True)


@pytest.mark.parametrize("change", ["old", "newer", "general", "cudnn", "convolutions"])
def test_precision_is_put_back_whichever_interface_changed_it(change: str) -> None:
    before = read_precision(torch)

    def changed() -> Precision:
        if change == "old":
            torch.set_float32_matmul_precision("high")
        elif change == "newer":
            torch.backends.cuda.matmul.fp32_precision = "tf32"
        elif change == "general":
            torch.backends.fp32_precision = "tf32"  # type: ignore[attr-defined]
        elif change == "cudnn":
            torch.backends.cudnn.conv.fp32_precision = "tf32"  # type: ignore[attr-defined]
        else:
            torch.backends.mkldnn.conv.fp32_precision = "tf32"  # type: ignore[attr-defined]
        return read_precision(torch)

    try:
        callers = changed()
        exact_float32(torch)
        exact = read_precision(torch)
        assert (exact.matmul, exact.tf32, set(exact.parts) <= {"none", "ieee"}) == ("highest", False, True)
        with UserCode("model").running():
            changed()
        assert read_precision(torch) == exact
        write_precision(torch, callers)
        assert read_precision(torch) == callers
    finally:
        write_precision(torch, before)


@pytest.mark.slow(3)
def test_a_model_that_trains_and_interferes_trains_like_the_honest_one(rows: Callable[..., Rows]) -> None:
    found = rows("InPlace", "Honest", recipe="standard", stressors=STRESSORS[:1])
    assert _numbers(found, ":InPlace") == _numbers(found, ":Honest")


@pytest.mark.parametrize("where", ["factory", "forward", "backward"])
def test_a_model_that_ends_the_process_is_an_error_row(where: str, rows: Callable[..., Rows]) -> None:
    models = [f"{where}_{kind}" for kind in hostile.ENDINGS]
    found = rows(*models, "Honest", stressors=STRESSORS[:1], code=4)
    assert [row[2] for row in _numbers(found, ":Honest")] == ["ok", "ok"]
    for kind, error in hostile.ENDINGS.items():
        clean, attacked = [row for row in found if row["variant"].endswith(f"{where}_{kind}")]
        assert attacked["status"] == "error"
        assert error.__name__ in attacked["error"]
        assert clean["status"] == ("ok" if where == "backward" else "error")
        if where == "forward":
            assert clean["error"].startswith(f"hostile.py:{where}_{kind}: ")


@pytest.mark.slow(2)
def test_a_model_that_leaves_without_exception_is_an_error_row(rows: Callable[..., Rows]) -> None:
    found = rows("Leaves", "Honest", stressors=(), code=4)
    errors = [row["error"] for row in found if row["variant"].endswith(":Leaves")]
    assert set(errors) == {"hostile.py:Leaves: SystemExit: 0"}
    assert {row[2] for row in _numbers(found, ":Honest")} == {"ok"}


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises, as in a terminal; a shell starts jobs in the background without it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_of_the_user_is_none_of_a_model() -> None:
    def answer(kill: bool) -> None:
        with watching_interrupts(), as_measurement_error("model"):
            if kill:
                os.kill(os.getpid(), signal.SIGINT)
            raise KeyboardInterrupt

    with pytest.raises(MeasurementError, match="model: KeyboardInterrupt"):
        answer(kill=False)
    with pytest.raises(KeyboardInterrupt):
        answer(kill=True)


@pytest.mark.parametrize("raised", ["SystemExit(0)", "KeyboardInterrupt", "GeneratorExit", "BaseException(1)"])
def test_a_file_that_ends_the_process_is_one_line(
    raised: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.py").write_text(f"print('hello')\nraise {raised}")
    monkeypatch.chdir(tmp_path)
    assert run_cli(["run", "--variant", "model.py:make"]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "model.py cannot be imported" in err


def test_evaluate_protects_the_caller_and_the_samples(capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = torch.rand(8, 1, 4, 4), torch.arange(8) % 2
    given, settings = images.clone(), _settings()
    honest = hostile.Honest(ImageShape(channels=1, height=4, width=4, classes=2, patch=1))
    expected = evaluate(honest, images, labels, stressors=STRESSORS).rows
    model = hostile.Interferes.__new__(hostile.Interferes)
    model.__dict__.update(honest.__dict__)

    def darken(batch: Tensor) -> Tensor:
        batch.mul_(0.5)
        return batch

    found = evaluate(model, images, labels, stressors=STRESSORS).rows
    assert [row.accuracy for row in found] == [row.accuracy for row in expected]
    dark = [
        evaluate(honest, images, labels, stressors=STRESSORS, transform=f).rows for f in (darken, lambda x: x * 0.5)
    ]
    assert [row.accuracy for row in dark[0]] == [row.accuracy for row in dark[1]]
    assert torch.equal(images, given)
    assert _settings() == settings
    assert "to Python" not in capsys.readouterr().out


def test_a_message_is_short_and_clean() -> None:
    message = str(MeasurementError("a\x1b[31m\ud800\u202e" + "long " * 10_000))
    assert len(message) == MESSAGE_LENGTH
    assert message.isprintable()
    assert message.encode()
    assert message.startswith("a?[31m??long")


def test_the_guard_of_a_call_takes_little_time() -> None:
    """Below a tenth of a millisecond on an idle machine; ten times as long passes, because tests share theirs."""
    code = UserCode("model")
    seconds = min(_timed(code) for _ in range(20))
    assert seconds < 1e-3


def _timed(code: UserCode) -> float:
    import time

    started = time.perf_counter()
    for _ in range(10):
        with code.running(thorough=False):
            pass
    return (time.perf_counter() - started) / 10


def test_replaced_functions_and_paths_exist_only_while_their_model_runs() -> None:
    code, relu, path = UserCode("model"), torch.nn.functional.relu, sys.path[:]
    with code.running():
        torch.nn.functional.relu = torch.nn.functional.gelu  # type: ignore[assignment]
        site.addsitedir("/nowhere")
    assert torch.nn.functional.relu is relu
    assert sys.path == path
    with code.running(thorough=False):
        assert torch.nn.functional.relu is torch.nn.functional.gelu
        assert "/nowhere" in sys.path
    assert torch.nn.functional.relu is relu
    assert sys.path == path


@pytest.mark.parametrize(
    ("owner", "name"),
    [(norms.Linf, "project"), (norms.Linf, "__init_subclass__"), (batch, "SHARE"), (batch, "is_random")],
)
def test_replacing_code_of_this_package_is_an_error_and_undone(owner: Any, name: str) -> None:
    before = dict(vars(owner))
    named = pytest.raises(SubjectError, match=rf"model: robustbench_wb\.[\w.]+\.{name} was replaced")
    with named, UserCode("model").running():
        setattr(owner, name, None)
    assert dict(vars(owner)) == before
    with UserCode("model").running():
        batch.added = 1  # type: ignore[attr-defined]
    del batch.added  # type: ignore[attr-defined]


@pytest.mark.parametrize("where", ["import", "factory"])
def test_a_model_file_that_replaces_code_of_this_package_is_refused(where: str, tmp_path: Path) -> None:
    """The attack is in a module that nothing else may have imported yet."""
    patch = "from robustbench_wb.stressors.attacks.square import SquareAttack as it; it.move = None"
    make = "def make(shape): return nn.Sequential(nn.Flatten(), nn.Linear(16, 2))"
    code = [patch, make] if where == "import" else [make.replace("return", f"{patch}; return")]
    (tmp_path / "model.py").write_text("\n".join(["from torch import nn", *code]))
    with pytest.raises(UsageError if where == "import" else SubjectError, match=r"SquareAttack\.move was replaced"):
        file.provide(f"{tmp_path}/model.py:make")(ImageShape(channels=1, height=4, width=4, classes=2, patch=1))


def test_a_replaced_optimiser_is_put_back_when_a_model_was_built() -> None:
    step, uniform = torch.optim.AdamW.step, torch.nn.init.uniform_
    with UserCode("model").running():
        torch.optim.AdamW.step = None  # type: ignore[method-assign, assignment]
        torch.nn.init.uniform_ = None  # type: ignore[assignment]
    assert (torch.optim.AdamW.step, torch.nn.init.uniform_) == (step, uniform)


def test_layers_hooks_and_variables_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBWB_CACHE_DIR", "/here")
    layer, images = torch.nn.Linear(3, 2), torch.rand(4, 3)
    expected = layer(images)
    with UserCode("model").running():
        os.environ["RBWB_CACHE_DIR"] = "/elsewhere"
        torch.nn.modules.module.register_module_forward_hook(lambda module, given, found: found + 1)
        torch.nn.Linear.forward = lambda self, input: input  # type: ignore[method-assign]
    assert os.environ["RBWB_CACHE_DIR"] == "/here"
    assert torch.equal(layer(images), expected)


class Words(torch.nn.Module):
    """Adds to its word vectors in place, as models do with positions."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = torch.nn.Embedding(9, 4), torch.nn.Linear(4, 2)

    def get_input_embeddings(self) -> torch.nn.Module:
        """The table of word vectors."""
        return self.table

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits."""
        vectors = self.table(tokens)
        vectors += 1
        logits: Tensor = self.head(vectors.mean(1))
        return logits


def test_word_vectors_of_an_attack_are_copied() -> None:
    model, tokens, vectors = Words(), torch.ones(2, 3, dtype=torch.int64), torch.rand(2, 3, 4)
    expected = WordEmbeddings(model).logits(tokens, vectors.clone())
    guard(model, UserCode("model"))
    before = vectors.clone()
    assert torch.equal(WordEmbeddings(model).logits(tokens, vectors), expected)
    assert torch.equal(vectors, before)
    logits, gradient = WordEmbeddings(model).gradient(tokens, vectors, lambda found: found[:, 0])
    assert torch.equal(logits, expected)
    assert float(gradient.abs().min()) > 0


def test_a_guarded_module_keeps_its_class_state_and_gradient() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2))
    names, images = list(model.state_dict()), torch.rand(4, 3, requires_grad=True)
    plain = torch.autograd.grad(model(images).sum(), images)[0]
    guarded = guard(model, UserCode("model"))
    assert isinstance(guarded, torch.nn.Sequential)
    assert list(guarded.state_dict()) == names
    assert torch.equal(torch.autograd.grad(guarded(images).sum(), images)[0], plain)


@pytest.mark.slow(10)
@pytest.mark.parametrize("isolated", [(), ("--isolate",)], ids=["here", "isolated"])
def test_files_named_like_libraries_and_late_prints_do_no_harm(isolated: tuple[str, ...], tmp_path: Path) -> None:
    for library in ("numpy", "pandas"):
        (tmp_path / f"{library}.py").write_text("raise RuntimeError('mine')\n")
    (tmp_path / "model.py").write_text(
        "import atexit\nfrom torch import nn\natexit.register(print, 'late')\n"
        "def make(shape):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    command = ["-m", "robustbench_wb", "run", "--variant", "model.py:make", "--recipe", "none", "--samples", "4"]
    done = subprocess.run(
        [sys.executable, *command, "--stressor", "clean", "--json", *isolated],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in json.loads(done.stdout)["rows"]] == ["ok"]
    assert isolated or "late" in done.stderr


def test_the_end_of_a_time_limit_is_no_fault_of_the_code_that_it_meets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(30)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(OutOfTimeError, match=r"took longer than 0\.1 seconds"), time_limit(0.1):
        import_target("slow_to_import:Thing", "stressor 'thing'")
