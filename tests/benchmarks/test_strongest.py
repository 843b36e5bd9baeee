"""Attacks of several libraries side by side: shares counted by hand, and an interrupted run that continues."""

import importlib
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BROKEN = {"ours": {0, 1, 4}, "theirs": {1, 2}}
"""Samples that each attack breaks."""


class Dark(nn.Module):
    """Class 1 for images that are darker than 0.45."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.flatten(1).mean(1)
        return torch.stack([mean, torch.full_like(mean, 0.45)], dim=1)


@pytest.fixture
def strongest(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("strongest")


@pytest.mark.slow(3)
def test_an_interrupted_run_continues_and_the_table_counts_complete_parts(
    strongest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: Counter[tuple[str, tuple[int, ...]]] = Counter()
    fails = [True]

    def perturb(name: str) -> Callable[[Any], Tensor]:
        def darken(attacked: Any) -> Tensor:
            ids = tuple(attacked.ids.tolist())
            if fails[0] and name == "theirs" and ids[0] == 3:
                raise KeyboardInterrupt
            calls[name, ids] += 1
            fallen = torch.tensor([row in BROKEN[name] for row in ids])
            images: Tensor = attacked.images - 0.1 * fallen.view(-1, 1, 1, 1)
            return images

        return darken

    made = [strongest.Contender(name=name, version="1", perturb=perturb(name)) for name in BROKEN]
    monkeypatch.setattr(strongest, "contenders", lambda ball: made)
    ball = strongest.Ball(norm="linf", eps=Fraction(1, 10))
    images, ids = torch.full((6, 1, 2, 2), 0.5), torch.arange(6)
    whole = strongest.AttackedModel(
        model=Dark(), images=images, labels=torch.zeros(6, dtype=torch.int64), ids=ids, batch=4
    )
    pieces = list(strongest.parts(whole, samples=6, size=3))
    records = strongest.Records(folder=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        strongest.measure_parts(pieces, ball, records, recorded=False)
    assert len(strongest.measure_parts(pieces, ball, records, recorded=True)) == 1
    fails[0] = False
    results = strongest.measure_parts(pieces, ball, records, recorded=False)
    assert calls == {(name, part): 1 for name in BROKEN for part in ((0, 1, 2), (3, 4, 5))}

    strongest.print_table(list(BROKEN), results, total=8)
    _, ours, theirs = [
        line.split(" | ") for line in capsys.readouterr().out.splitlines() if "|---" not in line and line
    ]
    # Two of eight samples were wrong when clean. Together, the attacks break 0, 1, 2 and 4.
    assert (ours[1], ours[3], ours[4], ours[5][:5]) == ("37.5", "0", "3 of 4", "0.750")
    assert (theirs[1], theirs[3], theirs[4], theirs[5][:5]) == ("50.0", "1", "2 of 4", "0.500")


@pytest.mark.slow(3)
@pytest.mark.parametrize(("norm", "eps"), [("linf", "1/10"), ("l2", "1/2")])
def test_minimum_norm_results_are_drawn_into_the_ball(strongest: Any, norm: str, eps: str) -> None:
    torch.manual_seed(0)
    clean, far = torch.rand(5, 1, 4, 4), torch.rand(5, 1, 4, 4)
    moved = strongest.Ball(norm=norm, eps=Fraction(eps)).clipped(clean, far) - clean
    size = moved.flatten(1).abs().amax(1) if norm == "linf" else moved.flatten(1).norm(dim=1)
    assert torch.allclose(size, torch.full((5,), float(Fraction(eps))), atol=1e-6)
    near = clean + 0.5 * moved
    torch.testing.assert_close(strongest.Ball(norm=norm, eps=Fraction(eps)).clipped(clean, near), near)
