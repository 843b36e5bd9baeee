"""Transfer attack compared with its written-out loop and a closed form; surrogates without gradients, without finite
outputs, or missing."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustbench_wb.errors import MeasurementError, UsageError
from robustbench_wb.stressors.attacks.attack import TOLERANCE, Attack
from robustbench_wb.stressors.attacks.attack_losses import LOSSES
from robustbench_wb.stressors.attacks.model_queries import value_and_gradient
from robustbench_wb.stressors.catalogue import parse_stressor
from tests.known import known, parts
from tests.stressors.attacked_batch import AttackedBatch, attacked_batch, perturb

COUNT = 60


def smooth(seed: int, planted: nn.Module | None = None) -> nn.Module:
    """A small smooth model in float64; near ``planted``, so that attacks transfer between the two."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 5)).double()
    if planted is not None:
        for own, other in zip(model.parameters(), planted.parameters(), strict=True):
            own.data = 0.7 * other.data + 0.3 * own.data
    return model.requires_grad_(False)


def batch_of(
    subject: nn.Module, surrogate: nn.Module | None, batch_size: int = 64, dtype: torch.dtype = torch.float64
) -> AttackedBatch:
    """Random images with the labels that the attacked model predicts."""
    images = torch.rand(COUNT, 1, 4, 4, generator=torch.Generator().manual_seed(1)).to(dtype)
    labels = subject(images).argmax(1)
    return attacked_batch(
        subject,
        inputs=images,
        labels=labels,
        ids=torch.arange(COUNT) + 7,
        seed=0,
        batch_size=batch_size,
        surrogate=surrogate,
    )


@pytest.fixture(scope="module")
def pair() -> tuple[nn.Module, nn.Module]:
    """Attacked model and surrogate."""
    subject = smooth(0)
    return subject, smooth(1, subject)


def attack_of(signature: str) -> Attack:
    attack = parse_stressor(signature)
    assert isinstance(attack, Attack)
    return attack


def distance(attack: Attack, one: Tensor, other: Tensor) -> float:
    return float(attack.norm.distance(one - other).max())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_is_the_loop_written_out_sample_by_sample(norm: str, pair: tuple[nn.Module, nn.Module]) -> None:
    subject, surrogate = pair
    attack = attack_of(f"transfer-{norm};eps={'1/12' if norm == 'linf' else '1/3'};steps=6;step=1/4;restarts=2")
    batch, eps = batch_of(subject, surrogate), attack.radius
    perturbed = attack.apply(batch, batch.access)
    ball = torch.full((1, 1, 1, 1), eps, dtype=torch.float64)
    noise = [
        attack.norm.uniform_in_ball(batch.ids, (1, 4, 4), seed=0, label=attack.stream, step=run) for run in range(4)
    ]
    past_the_first = 0
    for row in range(COUNT):
        clean, label = batch.inputs[row : row + 1], batch.labels[row : row + 1]

        def project(image: Tensor, clean: Tensor = clean) -> Tensor:
            return (clean + attack.norm.project(image - clean, ball)).clamp(0, 1)

        def loss(name: str, logits: Tensor, label: Tensor = label) -> Tensor:
            return LOSSES[name](logits, label)

        asked, wrong, shown = 0, False, []
        for run, name in enumerate(("margin", "ce", "margin", "ce")):
            current = clean if run < 2 else project(clean + eps * noise[run][row])
            iterates, losses, fooled = [], [], []
            for _ in range(7):
                answer = value_and_gradient(surrogate, current, partial(loss, name))
                iterates.append(current)
                losses.append(float(answer.losses))
                fooled.append(int(answer.logits.argmax()) != int(label))
                current = project(current + eps / 4 * attack.norm.steepest_direction(answer.gradient))
            chosen = int(np.argmax(losses))
            past_the_first += fooled[chosen] and fooled.index(True) < chosen
            shown.append(iterates[chosen])
            asked += 1
            wrong = int(subject(shown[-1]).argmax()) != int(label)
            if wrong:
                break
        assert (int(perturbed.forwards[row]), bool(known(perturbed.broken)[row])) == (asked, wrong)
        heights = [float(LOSSES["margin"](subject(image), label)) for image in shown]
        best = shown[-1] if wrong else shown[int(np.argmax(heights))]
        # Losses are float32, so that gradients carry its rounding.
        torch.testing.assert_close(perturbed.inputs[row : row + 1], best, atol=1e-7, rtol=0)
    assert 0 < known(perturbed.broken).sum() < COUNT
    assert past_the_first > 10
    assert (perturbed.backwards == 0).all()


@pytest.mark.parametrize("eps", ["1/40", "1/20", "1/10"])
def test_from_a_linear_model_to_itself_it_finds_what_the_closed_form_says(eps: str) -> None:
    """Two classes, far from the box: an error exists if the margin is below eps times |w1 - w0| in L1."""
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).double().requires_grad_(False)
    parts(model)[1].weight.copy_(torch.randn(2, 16, generator=generator))
    parts(model)[1].bias.copy_(-parts(model)[1].weight.sum(1) / 2)
    batch = batch_of(model, model)
    batch = replace(batch, inputs=0.4 + 0.2 * batch.inputs)
    batch = replace(batch, labels=model(batch.inputs).argmax(1))
    attack = attack_of(f"transfer-linf;eps={eps}")
    height = -LOSSES["margin"](model(batch.inputs), batch.labels)
    reach = attack.radius * (parts(model)[1].weight[1] - parts(model)[1].weight[0]).abs().sum()
    np.testing.assert_array_equal(attack.apply(batch, batch.access).broken, (height < reach).numpy())


def test_to_itself_it_breaks_what_pgd_breaks(pair: tuple[nn.Module, nn.Module]) -> None:
    subject, other = pair
    own, white = (
        perturb(attack_of(f"{name};eps=1/12;steps=20"), batch_of(subject, subject)).broken
        for name in ("transfer-linf", "pgd-linf")
    )
    assert int((known(own) != known(white)).sum()) <= 2
    crossed = perturb(attack_of("transfer-linf;eps=1/12;steps=20"), batch_of(subject, other)).broken
    assert 0 < known(crossed).sum() < known(own).sum()


class Constant(nn.Module):
    """Model with constant output."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.arange(5.0).to(images).expand(len(images), 5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_constant_surrogate_transfers_nothing(norm: str, pair: tuple[nn.Module, nn.Module]) -> None:
    batch = batch_of(pair[0], Constant())
    perturbed = attack_of(f"transfer-{norm};eps=1/2").apply(batch, batch.access)
    assert not known(perturbed.broken).any()
    assert torch.equal(perturbed.inputs, batch.inputs)


@pytest.mark.slow(2)
@pytest.mark.parametrize("signature", ["transfer-linf;eps=1/8;steps=7;restarts=2", "transfer-l2;eps=1/2;momentum=1"])
def test_batch_and_order_change_nothing_and_images_stay_in_ball_and_box(
    signature: str, pair: tuple[nn.Module, nn.Module]
) -> None:
    attack, batch = attack_of(signature), batch_of(*pair)
    expected = attack.apply(batch, batch.access)
    assert expected.inputs.min() >= 0
    assert expected.inputs.max() <= 1
    assert 0 < distance(attack, expected.inputs, batch.inputs) <= attack.radius + TOLERANCE
    attack.check(batch.inputs, expected.inputs)
    assert torch.equal(torch.from_numpy(expected.broken), pair[0](expected.inputs).argmax(1) != batch.labels)
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    for batch_size in (1, 7, 64):
        found = perturb(attack, batch_of(*pair, batch_size=batch_size))
        np.testing.assert_array_equal(found.broken, expected.broken)
        np.testing.assert_array_equal(found.forwards, expected.forwards)
        torch.testing.assert_close(found.inputs, expected.inputs, atol=1e-7, rtol=0)
        mixed = replace(
            batch, inputs=batch.inputs[order], labels=batch.labels[order], ids=batch.ids[order]
        ).in_batches_of(batch_size)
        np.testing.assert_array_equal(attack.apply(mixed, mixed.access).broken, known(expected.broken)[order.numpy()])


def test_a_ladder_is_one_search_and_rises(pair: tuple[nn.Module, nn.Module]) -> None:
    rungs = [attack_of(f"transfer-linf;eps={eps};steps=8") for eps in ("1/32", "1/16", "1/8", "1/4")]
    batch = batch_of(*pair)
    found = rungs[0].sweep(batch, batch.access, rungs)
    counts = [int(known(perturbed.broken).sum()) for perturbed in found]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
    for rung, perturbed in zip(rungs, found, strict=True):
        assert distance(rung, perturbed.inputs, batch.inputs) <= rung.radius + TOLERANCE
        assert known(perturbed.broken).sum() >= known(rung.apply(batch, batch.access).broken).sum()


def test_no_samples_are_no_trouble(pair: tuple[nn.Module, nn.Module]) -> None:
    perturbed = perturb(attack_of("transfer-linf;eps=1/8"), batch_of(*pair).select(np.zeros(COUNT, np.bool_)))
    assert perturbed.inputs.shape == (0, 1, 4, 4)
    assert len(perturbed.forwards) == 0


class Counted(nn.Module):
    """Model that counts the images of its queries."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.asked = inner, 0

    def forward(self, images: Tensor) -> Tensor:
        self.asked += len(images)
        answer: Tensor = self.inner(images)
        return answer


def test_passes_of_each_model_are_counted_apart(pair: tuple[nn.Module, nn.Module]) -> None:
    subject, surrogate = map(Counted, pair)
    batch = batch_of(subject, surrogate)
    subject.asked = 0
    rungs = [attack_of(f"transfer-linf;eps={eps};steps=5;restarts=2") for eps in ("1/16", "1/8", "1/4")]
    found = rungs[0].sweep(batch, batch.access, rungs)
    assert sum(int(perturbed.forwards.sum()) for perturbed in found) == subject.asked
    assert sum(perturbed.evidence.get("surrogate/forwards", 0) for perturbed in found) == surrogate.asked
    assert sum(perturbed.evidence.get("surrogate/backwards", 0) for perturbed in found) == surrogate.asked * 5 / 6
    assert sum(int(perturbed.backwards.sum()) for perturbed in found) == 0


class Nan(nn.Module):
    """Model whose output, or only its gradient, is NaN where the first pixel is bright."""

    def __init__(self, inner: nn.Module, part: str) -> None:
        super().__init__()
        self.inner, self.part = inner, part

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.inner(images)
        bright = images.flatten(1)[:, :1] > 0.5
        if self.part == "logits":
            return logits + torch.where(bright, torch.nan, 0.0)
        # The derivative of the root at 0 is infinite.
        return logits + torch.where(bright, 0 * images.flatten(1)[:, :1], 1.0).sqrt()


@pytest.mark.parametrize("part", ["logits", "gradient"])
def test_what_the_surrogate_cannot_search_on_is_never_robust(part: str, pair: tuple[nn.Module, nn.Module]) -> None:
    batch = batch_of(pair[0], Nan(pair[1], part))
    bright = (batch.inputs.flatten(1)[:, 0] > 0.5).numpy()
    perturbed = attack_of("transfer-linf;eps=1/100").apply(batch, batch.access)
    assert perturbed.failed is not None
    assert bright.any()
    assert (perturbed.failed | known(perturbed.broken))[bright].all()
    assert not perturbed.failed[(batch.inputs.flatten(1)[:, 0] < 0.48).numpy()].any()
    assert torch.isfinite(perturbed.inputs).all()


def test_without_a_surrogate_it_says_so(pair: tuple[nn.Module, nn.Module]) -> None:
    with pytest.raises(MeasurementError, match="needs a surrogate model, and none was given"):
        perturb(attack_of("transfer-linf;eps=1/8"), batch_of(pair[0], None))


def test_the_source_is_in_signature_and_label() -> None:
    attack = parse_stressor("transfer-l2;source=models/my.py:make;eps=1/2")
    assert attack.signature == "transfer-l2;eps=1/2;steps=20;step=1/8;restarts=1;loss=both;source=models/my.py:make"
    assert parse_stressor(attack.signature) == attack
    assert (attack.label, attack.surrogate) == ("transfer-l2:models/my.py:make", "models/my.py:make")
    assert parse_stressor("pgd-l2;eps=1/2").surrogate is None
    with pytest.raises(UsageError, match="source"):
        parse_stressor("transfer-l2;eps=1/2;source=a model")
