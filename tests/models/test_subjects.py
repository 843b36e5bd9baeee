"""Subjects from outside: a user's file, the probe, the digest of weights."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustbench_wb.errors import SubjectError, UsageError
from robustbench_wb.models.external import is_external, load_factory
from robustbench_wb.models.guarded import guard
from robustbench_wb.models.output_check import check_outputs
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.models.weights import weights_digest
from robustbench_wb.user_code import UserCode

SHAPE = ImageShape(channels=3, height=4, width=4, classes=2, patch=2)
GOOD = """
from torch import nn
from helper import SCALE

def make(shape):
    import late
    values = shape.channels * shape.height * shape.width
    model = nn.Sequential(nn.Flatten(), nn.Linear(values, shape.classes))
    model.scale, model.late = SCALE, late.VALUE
    return model

def wrong(shape):
    return 3

def breaks(shape):
    raise RuntimeError("no\\nweights")

number = 7
"""


def write(folder: Path, scale: int, text: str = GOOD) -> Path:
    folder.mkdir()
    (folder / "helper.py").write_text(f"SCALE = {scale}")
    (folder / "late.py").write_text("import helper\nVALUE = helper.SCALE + 1")
    path = folder / "model.py"
    path.write_text(text)
    return path


def test_two_users_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    paths, modules = list(sys.path), set(sys.modules)
    factories = [load_factory(f"{write(tmp_path / str(scale), scale)}:make") for scale in (1, 2)]
    models = [factory(SHAPE) for factory in factories]
    assert [model.scale for model in models] == [1, 2]
    assert [model.late for model in models] == [2, 3]
    assert models[0](torch.rand(5, 3, 4, 4)).shape == (5, 2)
    assert factories[0].code_digest != factories[1].code_digest  # the helpers differ
    assert sys.path == paths
    new = [sys.modules[name] for name in set(sys.modules) - modules if not name.startswith("_robustbench_wb_external_")]
    assert not [module for module in new if str(tmp_path) in str(getattr(module, "__file__", ""))]
    assert is_external(factories[0].reference)
    assert not is_external("vit")


def test_what_is_imported_after_the_model_was_built_is_no_part_of_it(tmp_path: Path) -> None:
    """A cached training does not import it."""
    text = GOOD + "\ndef train():\n    import sklearn\n"
    factory = load_factory(f"{write(tmp_path / 'a', 1, text)}:make")
    with factory.running():
        factory(SHAPE)
    parts = factory.parts()
    assert {"model.py", "helper.py", "late.py"} == set(parts)
    for module in [module for name, module in sys.modules.items() if name.startswith("_robustbench_wb_external_")]:
        if hasattr(module, "train") and str(tmp_path) in str(module.__file__):
            module.train()
    assert factory.parts() == parts


def test_digest_ignores_comments(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a", 1), write(tmp_path / "b", 1, GOOD + "# a remark\n")
    assert load_factory(f"{one}:make").code_digest == load_factory(f"{two}:make").code_digest


def test_a_file_inside_a_package_has_a_digest(tmp_path: Path) -> None:
    path = write(tmp_path / "pkg", 1)
    (path.parent / "__init__.py").write_text("")
    assert len(load_factory(f"{path}:make").code_digest) == 64


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (None, "make", "does not exist"),
        (GOOD, "mak", "no function 'mak'"),
        (GOOD, "number", "'number' .* is a int"),
        (GOOD, "a b", "does not name a file and a function"),
        ("def make(:\n", "make", r"model\.py, line 1"),
        ("import nowhere_to_be_found", "make", "ModuleNotFoundError.*nowhere_to_be_found"),
        ("1 / 0", "make", "ZeroDivisionError"),
        ("raise SystemExit('bye')", "make", "SystemExit: bye"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(tmp_path: Path, text: str | None, name: str, message: str) -> None:
    path = tmp_path / "model.py" if text is None else write(tmp_path / "x", 1, text)
    with pytest.raises(UsageError, match=message) as caught:
        load_factory(f"{path}:{name}")
    assert "\n" not in str(caught.value)


def test_a_dotted_file_name_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x", 1).rename(tmp_path / "x" / "my.model.py")
    with pytest.raises(UsageError, match="rename"):
        load_factory(f"{path}:make")
    with pytest.raises(UsageError, match="does not name a file and a function"):
        load_factory("vit")


@pytest.mark.parametrize(
    ("name", "message"), [("wrong", "returned a int"), ("breaks", "raised RuntimeError: no weights")]
)
def test_a_factory_that_fails_is_a_failing_subject(tmp_path: Path, name: str, message: str) -> None:
    factory = load_factory(f"{write(tmp_path / 'x', 1)}:{name}")
    with pytest.raises(SubjectError, match=message):
        factory(SHAPE)


class Answers(nn.Module):
    """Returns what a function makes of the images."""

    def __init__(self, answer: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.answer = answer
        self.frozen = nn.Dropout()

    def forward(self, x: Tensor) -> object:
        return self.answer(x)


def test_probe_lets_a_classifier_pass_and_puts_modes_back() -> None:
    model = Answers(lambda x: x.new_zeros(len(x), 2)).train()
    model.frozen.eval()
    check_outputs(model, SHAPE, "cpu")
    assert model.training
    assert not model.frozen.training


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: [1, 2], "returned a list"),
        (lambda x: torch.zeros(len(x), 2, dtype=torch.int64), "int64"),
        (lambda x: torch.zeros(len(x), 3), r"\(2, 3\).*expected \(2, 2\)"),
        (lambda x: torch.zeros(2), r"shape \(2,\)"),
        (lambda x: torch.full((len(x), 2), float("nan")), "black images are not finite"),
        (lambda x: 1 / (1 - x.flatten(1)[:, :2]), "white images are not finite"),
        (lambda x: 1 / (0.5 - x.flatten(1)[:, :2]), "grey images are not finite"),
        (lambda x: x.view(7), "raised RuntimeError on black images of"),
    ],
)
def test_probe_says_what_is_wrong(answer: Callable[[Tensor], object], message: str) -> None:
    with pytest.raises(SubjectError, match=message) as caught:
        check_outputs(Answers(answer), SHAPE, "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_one_bit_of_one_weight_changes_the_digest(dtype: torch.dtype) -> None:
    state = {"a": torch.arange(6, dtype=dtype).view(2, 3), "b": torch.ones((), dtype=dtype)}
    before = weights_digest(state)
    flipped = state["a"].clone()
    flipped.view(torch.uint8)[1, 0] ^= 1
    assert weights_digest({**state, "a": flipped}) != before
    assert weights_digest(dict(reversed(state.items()))) == before


def test_digest_sees_name_shape_and_type_but_not_strides() -> None:
    a = torch.arange(6.0).view(2, 3)
    before = weights_digest({"a": a})
    assert weights_digest({"a": a.T.contiguous().T}) == before
    assert weights_digest({"a": nn.Parameter(torch.stack([a, a], dim=-1)[..., 0])}) == before
    others = [
        {"b": a},
        {"a": a.view(3, 2)},
        {"a": a.view(torch.int32)},
        {"a": a, "c": torch.empty(0)},
        {"a": -a},
    ]
    assert len({before, *(weights_digest(other) for other in others)}) == 6
    signed = torch.view_as_complex(torch.ones(2, 2)).conj().imag  # a lazily negated view
    assert weights_digest({"a": signed}) == weights_digest({"a": torch.tensor([-1.0, -1.0])})


def test_a_batch_without_samples_reaches_no_model() -> None:
    class Picky(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            assert len(images)
            return images.flatten(1)[:, :3]

    model = guard(Picky(), UserCode("picky"))
    images = torch.zeros(0, 1, 2, 2, requires_grad=True)
    answer = model(images)
    assert answer.shape == (0, 3)
    (slope,) = torch.autograd.grad(answer.sum(), images)
    assert slope.shape == images.shape
    assert model(torch.ones(2, 1, 2, 2)).tolist() == [[1.0] * 3] * 2
