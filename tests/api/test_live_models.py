"""Modules in memory as models of a run: measured as they are, and reused when nothing changed."""

import importlib
import sys
from collections.abc import Callable, Iterator
from importlib.util import cache_from_source, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustbench_wb import RunResult, UsageError, build, doctor, evaluate, explain, run
from robustbench_wb.models.module_digest import UndigestedError, module_digest, module_parts
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.tasks.digits import DIGITS
from tests.known import a

STRESSORS = ("noise-linf;eps=16/255", "pgd-linf;eps=16/255;steps=3")


def network(seed: int = 0) -> nn.Sequential:
    """A small model of library parts for the digits task."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.GELU(), nn.Linear(16, 10))


def measured(models: dict[str, nn.Module], place: Path) -> RunResult:
    return run(variants=models, results=str(place), tasks="digits", samples=40, stressors=STRESSORS, device="cpu")


@pytest.mark.slow(3)
def test_a_module_is_measured_as_it_is_and_reused(tmp_path: Path) -> None:
    model = network().train()
    first = measured({"mine": model}, tmp_path)
    assert {row.variant for row in first.rows} == {"mine"}
    assert {row.recipe for row in first.rows} == {"none"}
    assert (first.measured, first.reused, first.trained, first.notes) == (3, 0, 0, ())
    assert model.training
    again = measured({"renamed": network()}, tmp_path)
    assert (again.measured, again.reused) == (0, 3), "the identity is that of weights and code, not of the name"
    other = measured({"mine": network(seed=1)}, tmp_path)
    assert (other.measured, other.reused) == (3, 0)
    assert list(first.to_pandas()["variant"]) == ["mine"] * 3
    assert "Ranked by Linf" in str(first)


@pytest.mark.slow(2)
def test_it_agrees_with_evaluate(tmp_path: Path) -> None:
    model = network()
    result = run(
        variants={"mine": model},
        results=str(tmp_path),
        tasks="digits",
        samples=10_000,
        stressors=STRESSORS,
        device="cpu",
    )
    data = DIGITS.load(None)
    found = evaluate(model, data.test.inputs, data.test.labels, stressors=STRESSORS)
    records = RecordStore(str(tmp_path)).find([row.key for row in result.rows])
    for row, own in zip(result.rows, found, strict=True):
        np.testing.assert_array_equal(records[row.key].states, own.states)
        assert row.grade == own.grade


@pytest.mark.slow(2)
def test_a_registered_variant_in_memory_is_reused(tmp_path: Path) -> None:
    shape = DIGITS.load(None).shape
    for expected in (0, 3):
        result = measured({"built": build("crate", shape=shape, mean=0.5, std=0.5)}, tmp_path)
        assert (result.reused, result.notes) == (expected, ())


class Scaled(nn.Module):
    """A model with numbers that are no parameters."""

    def __init__(self, scale: float, activation: Callable[[Tensor], Tensor] = torch.relu) -> None:
        super().__init__()
        self.net, self.scale, self.activation = network(), scale, activation

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(self.activation(images * self.scale))
        return logits


def test_attributes_count() -> None:
    assert module_digest(Scaled(1.0)) == module_digest(Scaled(1.0))
    assert module_digest(Scaled(1.0)) != module_digest(Scaled(0.5))
    assert module_digest(Scaled(1.0)) != module_digest(Scaled(1.0, torch.tanh))
    assert module_digest(Scaled(1.0)) != module_digest(Scaled(1.0, nn.functional.gelu))
    assert module_digest(nn.Conv2d(1, 2, 3)) != module_digest(nn.Conv2d(1, 2, 3, stride=2))
    assert module_digest(nn.Sequential(nn.Linear(2, 2), nn.ReLU())) != module_digest(
        nn.Sequential(nn.Linear(2, 2), nn.GELU())
    )


def hooked() -> nn.Module:
    model = network()
    model.register_forward_hook(lambda module, given, answer: answer * 2)
    return model


def local() -> nn.Module:
    class Local(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images

    return Local()


UNDIGESTED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "hooks": (hooked, "the model has hooks"),
    "lambda": (lambda: Scaled(1.0, lambda x: x), "lambda"),
    "local class": (local, "defined inside a function"),
    "an object": (lambda: Scaled(object()), "scale is a object, which has no plain value"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", UNDIGESTED)
def test_what_has_no_identity_is_named(name: str) -> None:
    make, words = UNDIGESTED[name]
    with pytest.raises(UndigestedError, match=words):
        module_digest(make())


@pytest.mark.slow(2)
def test_a_module_without_identity_is_measured_anew_and_the_output_says_so(tmp_path: Path) -> None:
    model = Scaled(1.0, lambda images: images)
    for _ in range(2):
        result = measured({"mine": model}, tmp_path)
        assert (result.measured, result.reused) == (3, 0)
        (note,) = result.notes
        assert note.startswith("mine: measured anew in every run, because ")
        assert note in str(result)


PROGRAM = """
from torch import nn

class Mine(nn.Module):
    def forward(self, images):
        return images.flatten(1) * FACTOR
"""


def imported(place: Path, factor: str) -> nn.Module:
    """A model of a file of one's own, imported from its folder."""
    place.mkdir(exist_ok=True)
    file = place / "mine.py"
    file.write_text(PROGRAM.replace("FACTOR", factor))
    # Python takes what it has compiled for the source if that is of the same second and size, as two versions here are.
    Path(cache_from_source(file)).unlink(missing_ok=True)
    spec = spec_from_file_location("mine", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["mine"] = module_from_spec(spec)
    spec.loader.exec_module(module)
    model: nn.Module = module.Mine()
    return model


def test_the_source_of_a_class_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mine", ModuleType("mine"))
    digests = [module_digest(imported(tmp_path / str(number), factor)) for number, factor in enumerate("112")]
    assert digests[0] == digests[1] != digests[2]


def test_a_class_of_a_notebook_has_no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook is a module without a file."""
    notebook = ModuleType("notebook")
    monkeypatch.setitem(sys.modules, "notebook", notebook)
    exec(PROGRAM.replace("FACTOR", "1"), notebook.__dict__)
    with pytest.raises(UndigestedError, match=r"Mine has no source file \(a notebook or an interactive session\)"):
        module_digest(notebook.Mine())


@pytest.mark.slow(2)
def test_doctor_and_explain_take_modules(tmp_path: Path) -> None:
    diagnosis = doctor(variants={"mine": network()}, tasks="digits", device="cpu")
    assert diagnosis.subject == "mine"
    assert {"check", "verdict"} <= set(diagnosis.to_pandas())
    fields = {"stressors": STRESSORS, "samples": 40}
    found = explain(results=str(tmp_path), variants={"mine": network()}, tasks="digits", device="cpu", **fields)  # type: ignore[arg-type]
    assert [cell.outcome for cell in found.cells] == ["new"] * 3
    measured({"mine": network()}, tmp_path)
    found = explain(results=str(tmp_path), variants={"mine": network()}, tasks="digits", device="cpu", **fields)  # type: ignore[arg-type]
    assert list(found.to_pandas()["outcome"]) == ["reused"] * 3


MISTAKES: dict[str, tuple[dict[str, object], str, str]] = {
    "a registered name": ({"variants": {"vit": network()}}, "variants", "registered model; give the module another"),
    "no module": ({"variants": {"mine": len}}, "variants", "a model in memory is a torch.nn.Module"),
    "a recipe": ({"variants": {"mine": network()}, "recipe": "standard"}, "recipe", "evaluated as it is"),
    "weights": ({"variants": {"mine": network()}, "checkpoint": "x"}, "checkpoint", "evaluated as it is"),
    "workers": ({"variants": {"mine": network()}, "workers": 2}, "workers", "one process"),
    "out of range": ({"samples": 0}, "samples", "samples must be at least 1, not 0"),
    "unknown": ({"sample": 1}, "sample", "sample is unknown; did you mean samples"),
    "a name of no letters": ({"variants": {"": network()}}, "variants", "is not a name"),
    "a number as name": ({"variants": {1: network()}}, "variants", "is not a name"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_names_the_parameter(name: str, tmp_path: Path) -> None:
    fields, parameter, words = MISTAKES[name]
    with pytest.raises(UsageError, match=words) as caught:
        run(results=str(tmp_path), **fields)  # type: ignore[arg-type]
    assert caught.value.parameters == (parameter,)
    assert list(tmp_path.iterdir()) == []


def test_an_edited_class_is_measured_again_in_the_same_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mine", ModuleType("mine"))
    first = module_digest(imported(tmp_path / "here", "1"))
    assert module_digest(imported(tmp_path / "here", "2")) != first


def test_a_file_that_was_edited_after_its_import_has_no_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mine", ModuleType("mine"))
    loaded = imported(tmp_path / "here", "1")
    (file,) = (tmp_path / "here").glob("*.py")
    file.write_text(PROGRAM.replace("FACTOR", "2"))
    with pytest.raises(UndigestedError, match="in memory differs from its source file; import it again"):
        module_digest(loaded)


def test_a_method_replaced_at_run_time_has_no_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mine", ModuleType("mine"))
    loaded = imported(tmp_path / "here", "1")
    monkeypatch.setattr(type(loaded), "forward", lambda self, x: x)
    with pytest.raises(UndigestedError, match="in memory differs from its source file"):
        module_digest(loaded)


class Notes(list[int]):
    """A list with an attribute of its own."""


@pytest.mark.slow(2)
@pytest.mark.parametrize("value", [Notes(), np.array(["text"]), torch.eye(2).to_sparse()], ids=repr)
def test_an_attribute_without_a_plain_value_is_measured_anew(value: object, tmp_path: Path) -> None:
    model = network()
    if isinstance(value, Notes):
        value.strength = 2  # type: ignore[attr-defined]
    model.extra = value  # type: ignore[assignment]
    result = measured({"mine": model}, tmp_path)
    assert (result.measured, len(result.notes)) == (3, 1)
    assert measured({"mine": model}, tmp_path).reused == 0


class Leaving(nn.Module):
    """A model that ends the process."""

    def forward(self, images: Tensor) -> Tensor:
        sys.exit(0)


@pytest.mark.slow(1)
def test_a_model_that_exits_is_an_error_row(tmp_path: Path) -> None:
    result = measured({"mine": Leaving(), "other": network()}, tmp_path)
    assert {row.status for row in result.rows if row.variant == "mine"} == {"error"}
    assert {row.status for row in result.rows if row.variant == "other"} == {"ok"}
    assert "SystemExit" in result.rows[0].error
    assert result.exit_code == 4


PACKAGE = {
    "__init__.py": "",
    "helper.py": "FACTOR = 1\ndef factor(): return FACTOR\n",
    "late.py": "FACTOR = 1\n",
    "mine.py": """
import functools, importlib
from dataclasses import dataclass
from torch import nn
from . import helper
from .helper import factor

SCALE = 1
TABLE = {"a": [1, 2]}

@dataclass
class Settings:
    shift: int = 0

def scaled(number):
    def decorate(function):
        @functools.wraps(function)
        def inner(*given):
            return function(*given) * number
        return inner
    return decorate

class Mine(nn.Module):
    scale = 1

    def __init__(self):
        super().__init__()
        self.settings = Settings()

    @scaled(SCALE)
    def forward(self, images, power=1, *, root=1):
        late = importlib.import_module("theirs.late")
        return images.flatten(1)[:, :10] * SCALE * self.scale * TABLE["a"][0] * helper.FACTOR * factor() * late.FACTOR

class Empty(nn.Sequential):
    pass
""",
}


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Import a package of one's own again, with changed files."""

    def load(**changed: str) -> Any:
        for name in [name for name in sys.modules if name.partition(".")[0] == "theirs"]:
            del sys.modules[name]
        (tmp_path / "theirs").mkdir(exist_ok=True)
        for name, text in PACKAGE.items():
            (tmp_path / "theirs" / name).write_text(changed.get(name.removesuffix(".py"), text))
        importlib.invalidate_caches()
        importlib.import_module("theirs.late")
        return importlib.import_module("theirs.mine")

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield load
    for name in [name for name in sys.modules if name.partition(".")[0] == "theirs"]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["helper", "late", "mine", "__init__"])
def test_every_module_that_a_class_reaches_counts(name: str, theirs: Callable[..., Any]) -> None:
    before = module_parts(theirs().Mine())
    assert module_parts(theirs().Mine()) == before
    after = module_parts(theirs(**{name: PACKAGE[f"{name}.py"] + "\nMORE = 2\n"}).Mine())
    module = "theirs" if name == "__init__" else f"theirs.{name}"
    assert {part for part in after if after[part] != before.get(part)} == {module}


CHANGES: dict[str, Callable[[Any, Any], None]] = {
    "a global": lambda module, model: setattr(module, "SCALE", 5),
    "an item of a global": lambda module, model: module.TABLE["a"].append(5),
    "a global of another module": lambda module, model: setattr(module.helper, "FACTOR", 5),
    "an attribute of the class": lambda module, model: setattr(module.Mine, "scale", 5),
    "a default": lambda module, model: setattr(module.Mine.forward.__wrapped__, "__defaults__", (5,)),
    "a default by name": lambda module, model: module.Mine.forward.__wrapped__.__kwdefaults__.update(root=5),
    "an attribute of a dataclass": lambda module, model: setattr(model.settings, "more", 5),
    "a method of a library": lambda module, model: setattr(module.Mine, "extra_repr", nn.Linear.extra_repr),
    "a helper": lambda module, model: setattr(module, "factor", lambda: 5),
    "an array in a global": lambda module, model: module.TABLE.update(b=np.ones(3)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_at_run_time_counts(name: str, theirs: Callable[..., Any]) -> None:
    module = theirs()
    model = module.Mine()
    before = module_digest(model)
    CHANGES[name](module, model)
    after = module_digest(model)
    assert after != before
    if name == "a helper":
        module.factor = lambda: 6
        assert module_digest(model) not in (before, after)


def executed(module: Any) -> nn.Module:
    exec("class Made(nn.Sequential):\n    scale = 5", vars(module))
    return a(nn.Module, module.Made())


def decorated(module: Any) -> nn.Module:
    module.Mine.forward = module.scaled(object())(module.Mine.forward)
    return a(nn.Module, module.Mine())


def with_an_object(module: Any) -> nn.Module:
    module.TABLE = object()
    return a(nn.Module, module.Mine())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (executed, "Made in memory differs from its source file"),
        (lambda module: type("Mine2", (nn.Sequential,), {"__module__": module.__name__})(), "differs from its source"),
        (decorated, "number is a object"),
        (with_an_object, r"theirs\.mine\.TABLE is a object"),
    ],
)
def test_code_that_no_file_holds_is_measured_anew(
    make: Callable[[Any], nn.Module], words: str, theirs: Callable[..., Any]
) -> None:
    with pytest.raises(UndigestedError, match=words):
        module_digest(make(theirs()))


def test_a_library_that_was_changed_at_run_time_has_no_release(
    monkeypatch: pytest.MonkeyPatch, theirs: Callable[..., Any]
) -> None:
    monkeypatch.setattr(nn.Linear, "forward", theirs().Mine.forward)
    with pytest.raises(UndigestedError, match=r"Linear of torch\.nn\.modules\.linear was changed at run time"):
        module_digest(network())
