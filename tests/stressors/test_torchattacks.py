"""The provider compared with the native attacks on trained models, and its safeguards against the library's side
effects."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustbench_wb.errors import MeasurementError
from robustbench_wb.stats.intervals import wilson
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.tasks.task import Dataset
from tests.known import known
from tests.stressors.attacked_batch import AttackedBatch, attacked_batch

Trained = Callable[[str], nn.Module]


def batch_of(model: nn.Module, digits: Dataset) -> AttackedBatch:
    images = torch.tensor(digits.test.inputs).float() / 255
    labels = torch.tensor(digits.test.labels)
    with torch.no_grad():
        right = torch.nonzero(model(images).argmax(1) == labels)[:, 0]
    return attacked_batch(model, inputs=images[right], labels=labels[right], ids=right, seed=0, batch_size=128)


@pytest.mark.slow(5)
@pytest.mark.parametrize("variant", ["vit", "crate"])
@pytest.mark.parametrize(
    ("native", "theirs"),
    [
        ("pgd-linf;eps=16/255;steps=20;step=1/8", "torchattacks:PGD;eps=16/255;alpha=2/255;steps=20;random_start=true"),
        ("pgd-l2;eps=1/2;steps=20;step=1/8", "torchattacks:PGDL2;eps=1/2;alpha=1/16;steps=20;random_start=true"),
    ],
)
def test_native_pgd_is_at_least_as_strong(
    native: str, theirs: str, variant: str, trained: Trained, digits: Dataset
) -> None:
    batch = batch_of(trained(variant), digits)
    count = len(batch.ids)
    ours = int((~known(parse_stressor(native).apply(batch, batch.access).broken)).sum())
    library = int((~known(parse_stressor(theirs).apply(batch, batch.access).broken)).sum())
    assert 0 <= ours < count
    assert ours / count <= wilson(library, count).high


def test_fgsm_is_the_same_attack(trained: Trained, digits: Dataset) -> None:
    batch = batch_of(trained("vit"), digits)
    ours = parse_stressor("fgsm-linf;eps=16/255").apply(batch, batch.access)
    library = parse_stressor("torchattacks:FGSM;eps=16/255").apply(batch, batch.access)
    # Signs of gradients near zero depend on the batching; images agree elsewhere and outcomes nearly everywhere.
    assert float((ours.inputs - library.inputs).abs().gt(1e-6).float().mean()) < 1e-3
    assert int((known(ours.broken) != known(library.broken)).sum()) <= 1


def test_the_callers_random_state_is_left_alone(trained: Trained, digits: Dataset) -> None:
    batch = batch_of(trained("vit"), digits)
    small = attacked_batch(
        batch.access.model, inputs=batch.inputs[:8], labels=batch.labels[:8], ids=batch.ids[:8], seed=0, batch_size=8
    )
    torch.manual_seed(5)
    np.random.seed(5)
    expected = (torch.rand(3), np.random.rand(3))
    torch.manual_seed(5)
    np.random.seed(5)
    parse_stressor("torchattacks:APGD;eps=8/255;steps=2").apply(small, small.access)
    assert torch.equal(torch.rand(3), expected[0])
    np.testing.assert_array_equal(np.random.rand(3), expected[1])


def test_a_seed_repeats_and_another_differs(trained: Trained, digits: Dataset) -> None:
    batch = batch_of(trained("vit"), digits)
    attack = parse_stressor("torchattacks:PGD;eps=8/255;steps=1;random_start=true")
    images = []
    for seed in (0, 0, 1):
        work = attacked_batch(
            batch.access.model,
            inputs=batch.inputs[:16],
            labels=batch.labels[:16],
            ids=batch.ids[:16],
            seed=seed,
            batch_size=8,
        )
        torch.rand(7)  # whatever was drawn before must not matter
        images.append(attack.apply(work, work.access).inputs)
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


class Mixed(nn.Module):
    """A model whose modules are deliberately in different modes."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.BatchNorm1d(64)
        self.noisy = nn.Dropout(0.5)
        self.head = nn.Linear(64, 10)
        self.train()
        self.frozen.eval()

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.head(self.noisy(self.frozen(images.flatten(1))))
        return out


def test_modes_of_every_module_are_put_back() -> None:
    model = Mixed()
    batch = attacked_batch(
        model,
        inputs=torch.rand(4, 1, 8, 8),
        labels=torch.zeros(4, dtype=torch.int64),
        ids=torch.arange(4),
        seed=0,
        batch_size=4,
    )
    parse_stressor("torchattacks:PGD;eps=8/255;steps=2").apply(batch, batch.access)
    assert (model.training, model.frozen.training, model.noisy.training, model.head.training) == (
        True,
        False,
        True,
        True,
    )


def test_an_attack_that_raises_says_so_in_one_line() -> None:
    class Raises(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, images: Tensor) -> Tensor:
            raise ValueError("not today")

    batch = attacked_batch(
        Raises(),
        inputs=torch.rand(2, 1, 8, 8),
        labels=torch.zeros(2, dtype=torch.int64),
        ids=torch.arange(2),
        seed=0,
        batch_size=2,
    )
    with pytest.raises(MeasurementError, match="torchattacks PGD failed: ValueError: not today"):
        parse_stressor("torchattacks:PGD;eps=8/255;steps=2").apply(batch, batch.access)


def test_images_outside_their_ball_are_refused() -> None:
    clean = torch.full((2, 1, 8, 8), 0.5)
    linf, l2 = parse_stressor("torchattacks:PGD;eps=8/255"), parse_stressor("torchattacks:PGDL2;eps=1/2")
    with pytest.raises(MeasurementError, match="ball"):
        linf.check(clean, clean + 0.1)
    with pytest.raises(MeasurementError, match="ball"):
        l2.check(clean, clean + 0.1)
    l2.check(clean, clean + 0.05)
    with pytest.raises(MeasurementError, match="pixel range"):
        parse_stressor("torchattacks:CW;steps=3").check(clean, clean + 0.6)


def test_the_librarys_autoattack_bears_another_name_and_repeats(trained: Trained, digits: Dataset) -> None:
    attack = parse_stressor("torchattacks:AutoAttack;eps=32/255;n_classes=10;batch=8")
    assert attack.signature == "torchattacks:AA-10;eps=32/255;n_classes=10;batch=8"
    assert parse_stressor(attack.signature) == attack
    whole = batch_of(trained("vit"), digits)
    batch = whole.select(np.arange(len(whole.ids)) < 4)
    assert torch.equal(attack.apply(batch, batch.access).inputs, attack.apply(batch, batch.access).inputs)
