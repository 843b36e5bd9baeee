"""Forms in which users bring a model: each runs, or is refused in one line before anything is trained."""

from collections.abc import Callable
from pathlib import Path

import pytest

MODEL = """
import torch
from torch import nn
from .helper import WIDTH

def make(shape):
    pixels = shape.channels * shape.height * shape.width
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, WIDTH), nn.ReLU(), nn.Linear(WIDTH, shape.classes))

class Extra(nn.Sequential):
    def __init__(self, shape):
        super().__init__(make(shape))
        self.version = 1
    def get_extra_state(self):
        return {"version": self.version}
    def set_extra_state(self, state):
        self.version = state["version"]

class Counts(Extra):
    def forward(self, images):
        self.version += 1
        return super().forward(images)

class Frozen(nn.Sequential):
    def __init__(self, shape):
        super().__init__(make(shape))
        self.requires_grad_(False)

def no_argument():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))

def by_keyword(*, shape):
    return make(shape)

def lazy(shape):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(WIDTH), nn.ReLU(), nn.LazyLinear(shape.classes))

def parallel(shape): return nn.DataParallel(make(shape))
def scripted(shape): return torch.jit.script(make(shape))
def traced(shape): return torch.jit.trace(make(shape), torch.rand(2, shape.channels, shape.height, shape.width))
def script_inside(shape): return nn.Sequential(scripted(shape))
def script_frozen(shape): return torch.jit.freeze(scripted(shape).eval())
def graph(shape): return torch.fx.symbolic_trace(make(shape))
def compiled(shape): return torch.compile(make(shape), backend="eager")
def meta(shape): return make(shape).to("meta")
def two(shape, classes): return make(shape)
def wrong(shape): return {"model": make(shape)}

net = no_argument()
number = 3
"""
RUN = ("--suite", "clean", "--samples", "20", "--stressor", "pgd-linf;eps=8/255;steps=1", "--progress", "none")
WORK = ("make", "net", "no_argument", "by_keyword", "lazy", "parallel", "scripted", "traced", "script_inside", "graph")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the models and a file that they import."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "helper.py").write_text("WIDTH = 8")
    return tmp_path


def variants(*names: str) -> tuple[str, ...]:
    return tuple(part for name in names for part in ("--variant", f"model.py:{name}"))


@pytest.mark.slow(10)
def test_every_form_is_evaluated_as_it_is(folder: Path, typed: Callable[..., tuple[str, str]]) -> None:
    out, err = typed("run", *variants(*WORK, "Extra", "Frozen", "script_frozen", "compiled"), *RUN, "--recipe", "none")
    assert "error" not in out
    assert " 28 new evaluations" in f" {err}"


@pytest.mark.slow(13)
def test_forms_are_trained_alike(folder: Path, typed: Callable[..., tuple[str, str]]) -> None:
    names = ("make", "lazy", "parallel", "scripted", "Extra")
    out, err = typed("run", *variants(*names), *RUN, "--full")
    assert "error" not in out
    assert "5 models trained" in err
    lines = [line.split(maxsplit=1)[1] for line in out.splitlines() if line.startswith("model.py:")]
    assert len(lines) == len(names)
    assert {lines[0]} == {lines[place] for place in (2, 3, 4)}, "they are the same function with the same weights"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Frozen", "no parameter requires a gradient"),
        ("script_frozen", "no parameter requires a gradient"),
        ("meta", "meta device"),
        ("Counts", "get_extra_state"),
        ("wrong", "returned a dict"),
    ],
)
def test_a_form_that_cannot_be_trained_is_an_error_row(
    name: str, words: str, folder: Path, typed: Callable[..., tuple[str, str]]
) -> None:
    out, err = typed("run", *variants(name), *RUN, code=4)
    assert words in " ".join(out.split())
    assert "0 models trained" in err


@pytest.mark.parametrize(
    ("name", "words"), [("two", "takes (shape, classes)"), ("number", "is a int"), ("nothing", "no function")]
)
def test_what_is_no_factory_is_one_line(
    name: str, words: str, folder: Path, typed: Callable[..., tuple[str, str]]
) -> None:
    out, err = typed("run", *variants(name), *RUN, code=2)
    assert not out
    assert words in err
    assert len(err.splitlines()) == 1
