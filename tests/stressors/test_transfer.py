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
from robustbench_wb.stressors.stressor import SampleBatch
from tests.known import known, parts

COUNT = 60


def smooth(seed: int, planted: nn.Module | None = None) -> nn.Module:
    """A small smooth model in float64; near ``planted``, so that attacks transfer between the two."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 5)).double()
    if planted is not None:
        for own, other in zip(model.parameters(), planted.parameters(), strict=True):
            own.data = 0.7 * other.data + 0.3 * own.data
    return model.requires_grad_(False)


def job_of(
    subject: nn.Module, surrogate: nn.Module | None, batch: int = 64, dtype: torch.dtype = torch.float64
) -> SampleBatch:
    """Random images with the labels that the attacked model predicts."""
    images = torch.rand(COUNT, 1, 4, 4, generator=torch.Generator().manual_seed(1)).to(dtype)
    labels = subject(images).argmax(1)
    return SampleBatch(subject, images, labels, torch.arange(COUNT) + 7, 0, batch, surrogate=surrogate)


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
    job, eps = job_of(subject, surrogate), attack.radius
    stressed = attack.apply(job)
    ball = torch.full((1, 1, 1, 1), eps, dtype=torch.float64)
    noise = [attack.norm.inside(job.ids, (1, 4, 4), seed=0, label=attack.stream, step=run) for run in range(4)]
    past_the_first = 0
    for row in range(COUNT):
        clean, label = job.inputs[row : row + 1], job.labels[row : row + 1]

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
                current = project(current + eps / 4 * attack.norm.steepest(answer.gradient))
            chosen = int(np.argmax(losses))
            past_the_first += fooled[chosen] and fooled.index(True) < chosen
            shown.append(iterates[chosen])
            asked += 1
            wrong = int(subject(shown[-1]).argmax()) != int(label)
            if wrong:
                break
        assert (int(stressed.forwards[row]), bool(known(stressed.broken)[row])) == (asked, wrong)
        heights = [float(LOSSES["margin"](subject(image), label)) for image in shown]
        best = shown[-1] if wrong else shown[int(np.argmax(heights))]
        # Losses are float32, so that gradients carry its rounding.
        torch.testing.assert_close(stressed.inputs[row : row + 1], best, atol=1e-7, rtol=0)
    assert 0 < known(stressed.broken).sum() < COUNT
    assert past_the_first > 10
    assert (stressed.backwards == 0).all()


@pytest.mark.parametrize("eps", ["1/40", "1/20", "1/10"])
def test_from_a_linear_model_to_itself_it_finds_what_the_closed_form_says(eps: str) -> None:
    """Two classes, far from the box: an error exists if the margin is below eps times |w1 - w0| in L1."""
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).double().requires_grad_(False)
    parts(model)[1].weight.copy_(torch.randn(2, 16, generator=generator))
    parts(model)[1].bias.copy_(-parts(model)[1].weight.sum(1) / 2)
    job = job_of(model, model)
    job = replace(job, inputs=0.4 + 0.2 * job.inputs)
    job = replace(job, labels=model(job.inputs).argmax(1))
    attack = attack_of(f"transfer-linf;eps={eps}")
    height = -LOSSES["margin"](model(job.inputs), job.labels)
    reach = attack.radius * (parts(model)[1].weight[1] - parts(model)[1].weight[0]).abs().sum()
    np.testing.assert_array_equal(attack.apply(job).broken, (height < reach).numpy())


def test_to_itself_it_breaks_what_pgd_breaks(pair: tuple[nn.Module, nn.Module]) -> None:
    subject, other = pair
    own, white = (
        attack_of(f"{name};eps=1/12;steps=20").apply(job_of(subject, subject)).broken
        for name in ("transfer-linf", "pgd-linf")
    )
    assert int((known(own) != known(white)).sum()) <= 2
    crossed = attack_of("transfer-linf;eps=1/12;steps=20").apply(job_of(subject, other)).broken
    assert 0 < known(crossed).sum() < known(own).sum()


class Constant(nn.Module):
    """Model with constant output."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.arange(5.0).to(images).expand(len(images), 5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_constant_surrogate_transfers_nothing(norm: str, pair: tuple[nn.Module, nn.Module]) -> None:
    job = job_of(pair[0], Constant())
    stressed = attack_of(f"transfer-{norm};eps=1/2").apply(job)
    assert not known(stressed.broken).any()
    assert torch.equal(stressed.inputs, job.inputs)


@pytest.mark.parametrize("signature", ["transfer-linf;eps=1/8;steps=7;restarts=2", "transfer-l2;eps=1/2;momentum=1"])
def test_batch_and_order_change_nothing_and_images_stay_in_ball_and_box(
    signature: str, pair: tuple[nn.Module, nn.Module]
) -> None:
    attack, job = attack_of(signature), job_of(*pair)
    expected = attack.apply(job)
    assert expected.inputs.min() >= 0
    assert expected.inputs.max() <= 1
    assert 0 < distance(attack, expected.inputs, job.inputs) <= attack.radius + TOLERANCE
    attack.check(job.inputs, expected.inputs)
    assert torch.equal(torch.from_numpy(expected.broken), pair[0](expected.inputs).argmax(1) != job.labels)
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    for batch in (1, 7, 64):
        found = attack.apply(job_of(*pair, batch=batch))
        np.testing.assert_array_equal(found.broken, expected.broken)
        np.testing.assert_array_equal(found.forwards, expected.forwards)
        torch.testing.assert_close(found.inputs, expected.inputs, atol=1e-7, rtol=0)
        mixed = replace(job, inputs=job.inputs[order], labels=job.labels[order], ids=job.ids[order], batch=batch)
        np.testing.assert_array_equal(attack.apply(mixed).broken, known(expected.broken)[order.numpy()])


def test_a_ladder_is_one_search_and_rises(pair: tuple[nn.Module, nn.Module]) -> None:
    rungs = [attack_of(f"transfer-linf;eps={eps};steps=8") for eps in ("1/32", "1/16", "1/8", "1/4")]
    job = job_of(*pair)
    found = rungs[0].sweep(job, rungs)
    counts = [int(known(stressed.broken).sum()) for stressed in found]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
    for rung, stressed in zip(rungs, found, strict=True):
        assert distance(rung, stressed.inputs, job.inputs) <= rung.radius + TOLERANCE
        assert known(stressed.broken).sum() >= known(rung.apply(job).broken).sum()


def test_no_samples_are_no_trouble(pair: tuple[nn.Module, nn.Module]) -> None:
    stressed = attack_of("transfer-linf;eps=1/8").apply(job_of(*pair).rows(np.zeros(COUNT, np.bool_)))
    assert stressed.inputs.shape == (0, 1, 4, 4)
    assert len(stressed.forwards) == 0


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
    job = job_of(subject, surrogate)
    subject.asked = 0
    rungs = [attack_of(f"transfer-linf;eps={eps};steps=5;restarts=2") for eps in ("1/16", "1/8", "1/4")]
    found = rungs[0].sweep(job, rungs)
    assert sum(int(stressed.forwards.sum()) for stressed in found) == subject.asked
    assert sum(stressed.evidence.get("surrogate/forwards", 0) for stressed in found) == surrogate.asked
    assert sum(stressed.evidence.get("surrogate/backwards", 0) for stressed in found) == surrogate.asked * 5 / 6
    assert sum(int(stressed.backwards.sum()) for stressed in found) == 0


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
    job = job_of(pair[0], Nan(pair[1], part))
    bright = (job.inputs.flatten(1)[:, 0] > 0.5).numpy()
    stressed = attack_of("transfer-linf;eps=1/100").apply(job)
    assert stressed.failed is not None
    assert bright.any()
    assert (stressed.failed | known(stressed.broken))[bright].all()
    assert not stressed.failed[(job.inputs.flatten(1)[:, 0] < 0.48).numpy()].any()
    assert torch.isfinite(stressed.inputs).all()


def test_without_a_surrogate_it_says_so(pair: tuple[nn.Module, nn.Module]) -> None:
    with pytest.raises(MeasurementError, match="needs a surrogate model, and none was given"):
        attack_of("transfer-linf;eps=1/8").apply(job_of(pair[0], None))


def test_the_source_is_in_signature_and_label() -> None:
    attack = parse_stressor("transfer-l2;source=models/my.py:make;eps=1/2")
    assert attack.signature == "transfer-l2;eps=1/2;steps=20;step=1/8;restarts=1;loss=both;source=models/my.py:make"
    assert parse_stressor(attack.signature) == attack
    assert (attack.label, attack.surrogate) == ("transfer-l2:models/my.py:make", "models/my.py:make")
    assert parse_stressor("pgd-l2;eps=1/2").surrogate is None
    with pytest.raises(UsageError, match="source"):
        parse_stressor("transfer-l2;eps=1/2;source=a model")
