"""Weights that people bring: files of torch, nested and prefixed names, and models inside a wrapper."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from robustbench_wb.engine.plan import make_plan
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import CheckpointError
from robustbench_wb.models.external import Factory, without_pretrained
from robustbench_wb.models.providers.image_model import ImageModel, Preprocessing
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.training.given_checkpoint import load_given
from tests.known import a

SHAPE = ImageShape(channels=1, height=2, width=2, classes=3, patch=1)


def net(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))


def wrapped(seed: int) -> ImageModel:
    same = Preprocessing(height=2, width=2, mean=[0.2], std=[0.3], interpolation="bilinear")
    return ImageModel(net(seed), SHAPE, same, fresh_head=False)


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in net(1).state_dict().items()}


@pytest.mark.parametrize("build", [net, wrapped])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors", ".bin"])
@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "model.", "backbone.", "_orig_mod.module.", "net.encoder."]
)
def test_a_prefix_of_all_names_is_removed(
    prefix: str, suffix: str, build: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / f"weights{suffix}"
    tensors = prefixed(prefix)
    save_file(tensors, file) if suffix == ".safetensors" else torch.save(tensors, file)
    model = build(0)
    with caplog.at_level(logging.WARNING):
        load_given(model, file)
    assert all(torch.equal(tensor, build(1).state_dict()[name]) for name, tensor in model.state_dict().items())
    assert (f"the prefix '{prefix}' of all names was removed" in caplog.text) == bool(prefix)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "net"])
def test_weights_beside_an_optimiser_are_found(key: str, tmp_path: Path) -> None:
    content = {key: prefixed("module."), "epoch": 3, "optimizer": {"state": {}}, "best": 0.5}
    torch.save(content, tmp_path / "last.pth")
    model = net(0)
    load_given(model, tmp_path / "last.pth")
    assert torch.equal(model.state_dict()["1.weight"], net(1).state_dict()["1.weight"])


def test_a_prefix_of_some_names_is_a_mismatch_that_names_what_the_file_holds(tmp_path: Path) -> None:
    tensors = prefixed("module.")
    tensors["head.weight"] = tensors.pop("module.3.weight")
    torch.save(tensors, tmp_path / "mixed.pt")
    words = r"lacks '1.bias' and 8 more; the file holds 'head.weight', 'module.1.bias', .*, 9 weights in all"
    with pytest.raises(CheckpointError, match=words):
        load_given(net(0), tmp_path / "mixed.pt")


@pytest.mark.parametrize("cut", [0, 1, 40, 500, -30])
def test_a_file_that_was_cut_off_is_one_line(cut: int, tmp_path: Path) -> None:
    file = tmp_path / "cut.pt"
    torch.save(prefixed(""), file)
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(CheckpointError) as caught:
        load_given(net(0), file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def test_given_weights_replace_pretrained_ones_before_these_are_downloaded(tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    torch.save(prefixed(""), file)
    assert without_pretrained("timm:resnet18;pretrained=true") == "timm:resnet18;pretrained=false"
    assert without_pretrained("model.py:make") == "model.py:make"
    # Offline, the weights of this model cannot be downloaded; its architecture needs no network.
    request = RunRequest(variants=("timm:resnet18",), checkpoint=str(file), device="cpu")
    source = a(Factory, make_plan(request).tasks[0].subjects[0].source)
    assert isinstance(source(SHAPE.model_copy(update={"height": 32, "width": 32})), nn.Module)


@pytest.mark.parametrize(
    ("make", "words"),
    [(lambda t: t.to(torch.int8), "whole numbers and fractions exchanged"), (lambda t: t.to_sparse(), "sparse")],
    ids=["integers", "sparse"],
)
def test_numbers_that_a_weight_cannot_hold_are_refused(make: Any, words: str, tmp_path: Path) -> None:
    torch.save({**prefixed(""), "1.weight": make(net(1).state_dict()["1.weight"])}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=rf"{words}.* in '1.weight'"):
        load_given(net(0), tmp_path / "w.pt")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_weights_in_another_number_format_are_converted(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.save({name: t.to(dtype) if t.is_floating_point() else t for name, t in prefixed("").items()}, tmp_path / "w")
    model = net(0)
    load_given(model, tmp_path / "w")
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32, torch.int64}
    assert torch.allclose(model.state_dict()["1.weight"], net(1).state_dict()["1.weight"], atol=1e-3)
