"""PGD that stops where it has been: the verdicts of all steps, and the passes of a loop written out with a set."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustbench_wb.errors import UsageError
from robustbench_wb.stressors.attacks.attack_losses import LOSSES
from robustbench_wb.stressors.attacks.model_queries import value_and_gradient
from robustbench_wb.stressors.attacks.pgd import PgdLinf
from robustbench_wb.stressors.catalogue import parse_stressor
from tests.known import a, known
from tests.stressors.attacked_batch import AttackedBatch, attacked_batch, perturb

EPS, STEPS = 16 / 255, 40


@pytest.fixture(scope="module")
def work() -> AttackedBatch:
    """Noise images that a random network classifies, one in each forward pass: as in the loop, bit for bit."""
    torch.manual_seed(0)
    first, last = nn.Linear(25, 16), nn.Linear(16, 4)
    nn.init.normal_(first.weight)
    model = nn.Sequential(nn.Flatten(), first, nn.Tanh(), last).requires_grad_(requires_grad=False)
    images = torch.rand(24, 1, 5, 5)
    return attacked_batch(model, inputs=images, labels=model(images).argmax(1), ids=torch.arange(24), batch_size=1)


def passes_of_a_loop(work: AttackedBatch, row: int, start: Tensor) -> tuple[bool, int]:
    """Whether a run from a start breaks the sample, and its gradients, when it ends at the first repeated iterate."""
    clean, label, current = work.inputs[row : row + 1], work.labels[row : row + 1], start[None]
    seen: set[bytes] = set()
    for spent in range(STEPS):
        if current.numpy().tobytes() in seen:
            return False, spent
        seen.add(current.numpy().tobytes())
        answer = value_and_gradient(work.access.model, current, lambda logits: LOSSES["ce"](logits, label))
        if int(answer.logits.argmax(1)) != int(label):
            return True, spent + 1
        current = (clean + (current + EPS / 8 * answer.gradient.sign() - clean).clamp(-EPS, EPS)).clamp(0, 1)
    return int(work.access.model(current).argmax(1)) != int(label), STEPS


@pytest.mark.parametrize("initial", ["image", "random"])
def test_a_run_ends_at_the_first_repeated_iterate_with_the_verdict_of_all_steps(
    initial: str, work: AttackedBatch
) -> None:
    signature = f"pgd-linf;eps=16/255;steps={STEPS};loss=ce;initial={initial}"
    whole, short = a(PgdLinf, parse_stressor(signature)), a(PgdLinf, parse_stressor(f"{signature};stop=repeat"))
    noise = whole.norm.uniform_in_ball(work.ids, (1, 5, 5), seed=0, label=whole.stream, step=0)
    starts = work.inputs if initial == "image" else (work.inputs + EPS * noise).clamp(0, 1)
    expected = [passes_of_a_loop(work, row, starts[row]) for row in range(24)]
    found, full = perturb(short, work), perturb(whole, work)
    assert [
        (bool(one), int(spent)) for one, spent in zip(known(found.broken), found.backwards, strict=True)
    ] == expected
    np.testing.assert_array_equal(known(found.broken), known(full.broken))
    held = ~known(full.broken)
    assert 0 < held.sum() < len(held)
    assert set(full.backwards[held]) == {STEPS}
    assert len(set(found.backwards[held])) > 2
    assert (found.backwards[held] < STEPS).mean() > 0.5
    # Such a sample counts as attacked to the end.
    assert found.evidence["held_to_the_end"] == held.sum()


@pytest.mark.parametrize("numbers", [";momentum=1", ""])
def test_runs_that_need_not_go_round_take_all_steps(numbers: str, work: AttackedBatch) -> None:
    attack = parse_stressor(f"pgd-linf;eps=1/1000;steps=30;loss=ce;stop=repeat{numbers}")
    access = work.access if numbers else replace(work.access, draws=2)
    found = perturb(attack, replace(work, access=access))
    held = ~known(found.broken)
    assert held.any()
    assert set(found.backwards[held]) == {30 * access.draws}


class Bright(nn.Module):
    """Class 1 for images whose mean is at least 7 / 255."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.flatten(1).mean(1)
        return torch.stack([torch.full_like(mean, 6.5 / 255), mean], dim=1)


def test_a_black_image_is_an_iterate_like_any_other() -> None:
    """All bits of a black image are 0, as are those of a place where no iterate was stored."""
    images, labels = torch.zeros(3, 1, 4, 4), torch.zeros(3, dtype=torch.int64)
    work = attacked_batch(Bright(), inputs=images, labels=labels, ids=torch.arange(3), batch_size=3)
    found = perturb(parse_stressor("pgd-linf;eps=8/255;steps=20;initial=image;loss=margin;stop=repeat"), work)
    assert known(found.broken).all()
    assert set(found.backwards) == {8}


def test_only_pgd_in_linf_can_stop_so() -> None:
    with pytest.raises(UsageError, match="no parameter 'stop'"):
        parse_stressor("pgd-l2;eps=1/2;stop=repeat")
    assert "stop" not in parse_stressor("pgd-linf;eps=8/255").signature
