"""The example of docs/variants/adding.md, as a stranger would take it: found by its name once it is installed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from robustbench_wb.models.build import build
from robustbench_wb.models.shape import ImageShape, TextShape
from robustbench_wb.models.sockets import Attention
from robustbench_wb.registry import Registry
from tests.known import parts

PAGE = Path(__file__).parents[2] / "docs" / "variants" / "adding.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)


def test_the_example_is_short_and_builds_in_every_modality(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attentions: Registry[type[Attention]]
) -> None:
    (code,) = blocks("python")
    assert len(code.splitlines()) < 60
    (tmp_path / "qknorm.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    attentions.add("qknorm", "qknorm:QkNormAttention", "the docs' own")
    import qknorm  # type: ignore[import-not-found]

    image = ImageShape(channels=1, height=8, width=8, classes=3, patch=2)
    assert build(qknorm.QKNORM, "nano", image, mean=[0.5], std=[0.5], seed=0)(torch.rand(2, 1, 8, 8)).shape == (2, 3)
    text = build(qknorm.QKNORM, "nano", TextShape(vocabulary=9, length=6, classes=2), seed=0).double().eval()
    alone, padded = text(torch.tensor([[2, 5, 7]])), text(torch.tensor([[2, 5, 7, 0, 0]]))
    assert (alone - padded).abs().max() < 1e-12
    words = build(qknorm.QKNORM, "nano", TextShape(vocabulary=9, length=6, classes=9, causal=True), seed=0)
    assert words(torch.tensor([[5, 6, 7]])).shape == (1, 3, 9)
    layer = text.backbone.blocks[0].attention
    x = torch.randn(1, 4, 64, dtype=torch.float64)
    q, k, v = parts(layer).qkv(x)[0].chunk(3, dim=-1)
    rows = []
    for h in range(4):
        s = slice(16 * h, 16 * h + 16)
        cosines = torch.stack([torch.stack([torch.cosine_similarity(a, b, dim=0) for b in k[:, s]]) for a in q[:, s]])
        rows.append((cosines * 10).softmax(dim=-1) @ v[:, s])
    from robustbench_wb.models.sockets import Context

    want = torch.cat(rows, dim=-1) @ parts(layer).out.weight.T + parts(layer).out.bias
    assert (parts(layer)(x, Context())[0] - want).abs().max() < 1e-10


@pytest.mark.slow(30)
def test_the_package_of_the_page_installs_and_runs(tmp_path: Path) -> None:
    (code,), (lines,) = blocks("python"), blocks("toml")
    source, place = tmp_path / "qknorm", tmp_path / "installed"
    source.mkdir()
    (source / "qknorm.py").write_text(code, encoding="utf-8")
    (source / "pyproject.toml").write_text(lines, encoding="utf-8")
    install = ("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(place), str(source))
    path = os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])])
    run = ("-m", "robustbench_wb", "run", "--variant", "qknorm", "--suite", "clean", "--recipe", "none")
    for command in (install, (*run, "--samples", "20", "--results", str(tmp_path / "results"))):
        done = subprocess.run(
            [sys.executable, *command],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert "qknorm" in done.stdout
