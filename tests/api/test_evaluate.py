"""``evaluate`` on images: exact accuracies, agreement with a run, and everything put back as it was."""

import random
import re
import tracemalloc
from collections.abc import Callable
from math import isnan
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from robustbench_wb import PgdLinf, RunRequest, State, UsageError, build, evaluate
from robustbench_wb.api.evaluation_samples import check_images, image_samples
from robustbench_wb.api.run import run
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.stressors.attacks.fgsm import FgsmLinf
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.out_of_distribution.out_of_distribution import OutOfDistribution
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import Stressor
from robustbench_wb.tasks.digits import DIGITS
from tests.stats.test_calibration import looped


class Linear(nn.Module):
    """Two classes, one linear map of the pixels."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.map = nn.Linear(3 * 6 * 6, 2)
        with torch.no_grad():
            self.map.weight.copy_(torch.randn(2, 108, generator=generator) * 0.1)
            self.map.bias.copy_(-self.map.weight.sum(1) / 2)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.map(images.flatten(1))
        return logits


def pictures(count: int = 200, seed: int = 0) -> Tensor:
    """Images whose pixels stay away from 0 and 1, so that the box does not bind."""
    return 0.2 + 0.6 * torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("eps", ["1/255", "4/255", "8/255"])
def test_the_robust_accuracy_of_a_linear_model_is_exact(eps: str) -> None:
    """In Linf a linear model is broken where the margin is at most eps times the L1 norm of the weights' difference."""
    model, images = Linear(), pictures()
    difference = (model.map.weight[1] - model.map.weight[0]).detach()
    with torch.no_grad():
        logits = model(images)
    labels = logits.argmax(1)
    margin = (logits.max(1).values - logits.min(1).values).double()
    numerator, denominator = eps.split("/")
    reach = int(numerator) / int(denominator) * difference.double().abs().sum()
    assert float((margin - reach).abs().min()) > 1e-5, "no sample is on the edge"
    found = evaluate(model, images, labels, stressors=[PgdLinf(eps=eps), FgsmLinf(eps=eps)])
    holds = (margin > reach).numpy()
    assert 0 < holds.sum() < 200
    for name in ("pgd-linf", "fgsm-linf"):
        np.testing.assert_array_equal(found[name].states == State.ROBUST, holds)
        assert found[name].accuracy == pytest.approx(holds.mean())
        assert found[name].low < found[name].accuracy < found[name].high
    assert found["clean"].accuracy == 1.0


def test_the_table_names_interval_grade_and_reason() -> None:
    model, images = Linear(), pictures(40)
    labels = model(images).argmax(1)
    found = evaluate(model, images, labels, stressors="noise-linf;eps=8/255")
    text = str(found)
    assert "clean" in text
    assert "noise-linf@8/255" in text
    assert "n = 40; seed 0" in text
    assert found["noise-linf@8/255"].grade in "ABCF"
    frame = found.to_pandas()
    assert list(frame["stressor"]) == ["clean", "noise-linf"]
    assert "states" not in frame
    assert found.samples_to_pandas().shape == (40, 2)
    with pytest.raises(KeyError, match="there are: clean, noise-linf@8/255"):
        found["pgd-linf"]


@pytest.mark.slow(4)
def test_states_agree_with_a_run_on_the_same_model_and_samples(tmp_path: Path) -> None:
    """The measuring code is the one of a run: equal states, losses and passes for every sample."""
    signatures = ("noise-linf;eps=16/255", "pgd-linf;eps=16/255;steps=5", "gaussian-noise;severity=2")
    request = RunRequest(
        tasks=("digits",), variants=("vit",), recipe="none", samples=10_000, stressors=signatures, device="cpu"
    )
    report = run(request, results=str(tmp_path))
    data = DIGITS.load(None)
    mean, std = data.train.moments()
    model = build("vit", shape=data.shape, mean=mean, std=std)
    found = evaluate(model, data.test.inputs, data.test.labels, stressors=signatures, device="cpu")
    records = RecordStore(str(tmp_path)).find([row.key for row in report.rows])
    for row, own in zip(report.rows, found.rows, strict=True):
        record = records[row.key]
        np.testing.assert_array_equal(record.states, own.states)
        np.testing.assert_array_equal(record.losses, own.losses)
        assert (row.signature, row.n, row.accuracy, row.low, row.high, row.grade) == (
            own.signature,
            own.n,
            own.accuracy,
            own.low,
            own.high,
            own.grade,
        )
        assert (row.forwards, row.backwards) == (own.forwards, own.backwards)


def test_float_images_and_8_bit_images_give_the_same() -> None:
    data = DIGITS.load(None)
    images, labels = data.test.inputs[:50], data.test.labels[:50]
    model = build("vit", shape=data.shape)
    one, other = (evaluate(model, x, labels, stressors="pgd-linf;eps=8/255;steps=3") for x in (images, images / 255))
    for row, same in zip(one, other, strict=True):
        np.testing.assert_array_equal(row.states, same.states)


def test_arrays_that_are_read_backwards_give_the_same() -> None:
    """Channels in the other order, as OpenCV needs them, and the last sample first."""
    backwards, labels = IMAGES.numpy()[::-1, ::-1], np.array(LABELS)[::-1]
    found = evaluate(NET, backwards, labels, stressors="noise-linf;eps=8/255", keep_images=True)
    same = evaluate(NET, backwards.copy(), labels.copy(), stressors="noise-linf;eps=8/255", keep_images=True)
    for one, other in zip(found, same, strict=True):
        np.testing.assert_array_equal(one.losses, other.losses)


def test_images_in_memory_are_not_copied() -> None:
    """Float images of 60 MB cost a quarter more, for their levels, and a few parts."""
    images = np.random.default_rng(0).random((100, 3, 224, 224), np.float32)
    tracemalloc.start()
    samples = image_samples(check_images(images), np.zeros(100, np.int64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * images.nbytes
    assert samples.split is not None
    np.testing.assert_array_equal(samples.split.inputs, np.rint(images * 255))
    assert np.shares_memory(samples.inputs, images)


def test_everything_is_put_back() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))
    model.train()
    model[3].eval()
    model[1].weight.requires_grad_(False)
    (model(pictures(8)).sum()).backward()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    modes = [module.training for module in model.modules()]
    wanted = [p.requires_grad for p in model.parameters()]
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    tf32 = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            evaluate(model, pictures(20), torch.arange(20) % 3, stressors="pgd-linf;eps=8/255;steps=2")
            assert not torch.is_grad_enabled()
        assert torch.get_default_dtype() is torch.float64
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.set_default_dtype(torch.float32)
        torch.backends.cuda.matmul.allow_tf32 = tf32
    drawn = (float(torch.rand(1)), random.random(), float(np.random.rand()))
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    assert drawn == (float(torch.rand(1)), random.random(), float(np.random.rand()))
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == wanted
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert gradient is None or torch.equal(parameter.grad, gradient)  # type: ignore[arg-type]


def test_the_state_is_put_back_after_an_error() -> None:
    model = Linear().train()
    with pytest.raises(Exception, match="model: raised RuntimeError"):
        evaluate(model, torch.rand(4, 1, 5, 5), [0, 1, 0, 1])
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("RBWB_CACHE_DIR", str(cache))
    monkeypatch.chdir(tmp_path)
    model = Linear()
    evaluate(model, pictures(10), [0, 1] * 5, stressors=["gaussian-noise;severity=1", "pgd-linf;eps=1/255;steps=1"])
    assert list(tmp_path.rglob("*")) == []


def test_preprocessing_is_inside_the_model() -> None:
    """Normalisation by mean and std, by a function, and by the model itself are one model to an attack."""
    model, images = Linear(), pictures(60)
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    shift, scale = (torch.tensor(x).view(1, 3, 1, 1) for x in (mean, std))
    labels = model((images - shift) / scale).argmax(1)
    stressor = PgdLinf(eps="8/255", steps=5)
    given = evaluate(model, images, labels, stressors=stressor, mean=mean, std=std)
    written = evaluate(model, images, labels, stressors=stressor, transform=lambda x: (x - shift) / scale)
    function = evaluate(lambda x: model((x - shift) / scale), images, labels, stressors=stressor)
    for other in (written, function):
        np.testing.assert_array_equal(given["pgd-linf"].states, other["pgd-linf"].states)
    assert given["clean"].accuracy == 1.0
    assert 0 < given["pgd-linf"].accuracy < 1


def test_perturbed_images_are_kept_on_request_and_break_the_model() -> None:
    model, images = Linear(), pictures()
    labels = model(images).argmax(1)
    labels[:5] = 1 - labels[:5]  # wrong when clean, so that an attack does not try them
    row = evaluate(model, images, labels, stressors=PgdLinf(eps="4/255"), keep_images=True)["pgd-linf"]
    assert row.images is not None
    assert row.images.shape == (200, 3, 6, 6)
    moved = np.abs(row.images - images.numpy()).max((1, 2, 3))
    assert moved.max() <= 4 / 255 + 1e-6
    assert not moved[:5].any()
    assert (row.states[:5] == State.WRONG).all()
    answers = model(torch.from_numpy(row.images)).argmax(1)
    np.testing.assert_array_equal((answers == labels).numpy(), row.states == State.ROBUST)
    assert evaluate(model, images, labels, stressors=PgdLinf(eps="4/255"))["pgd-linf"].images is None


def test_default_stressors_are_those_of_the_adversarial_suite_at_8_255() -> None:
    model, images = Linear(), pictures(20)
    found = evaluate(model, images, model(images).argmax(1))
    assert [row.name for row in found] == [
        "clean",
        "noise-linf@8/255",
        "fgsm-linf@8/255",
        "pgd-linf@8/255",
        "quick-linf@8/255",
    ]


class Broken(Stressor):
    """A stressor of one's own, by value, that always fails."""

    name = "broken"

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        raise ValueError("no luck today")


def test_a_stressor_that_fails_is_a_row_with_an_error_and_no_sample_is_robust() -> None:
    model, images = Linear(), pictures(20)
    found = evaluate(model, images, model(images).argmax(1), stressors=[Broken(), "noise-linf;eps=1/255"])
    row = found["broken"]
    assert "no luck today" in row.error
    assert (isnan(row.accuracy), row.robust) == (True, 0)
    assert (row.states == State.NOT_RUN).all()
    assert found["noise-linf"].error == ""
    assert "failed: broken: ValueError: no luck today" in str(found)


def test_samples_without_finite_logits_are_errors_and_never_robust() -> None:
    model = Linear()

    def poisoned(images: Tensor) -> Tensor:
        return torch.where(images[:, :1, 0, 0] > 0.6, torch.nan, model(images))

    images = pictures(50)
    labels = model(images).argmax(1)
    bad = (images[:, 0, 0, 0] > 0.6).numpy()
    row = evaluate(poisoned, images, labels, stressors=())["clean"]
    assert row.errored == bad.sum() > 0
    assert (row.states[bad] == State.ERRORED).all()
    assert row.accuracy == pytest.approx(1 - bad.mean())


def test_an_untrained_variant_is_built_in_memory() -> None:
    shape = ImageShape(channels=3, height=8, width=8, classes=4, patch=4)
    model = build("crate", size="tiny", shape=shape, seed=5)
    assert isinstance(model, nn.Module)
    again = build("crate", size="tiny", shape=shape, seed=5)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert evaluate(model, torch.rand(4, 3, 8, 8), [0, 1, 2, 3], stressors=()).classes == 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_is_measured_on_another_device_and_comes_back() -> None:
    model, images = Linear(), pictures(50)
    labels = model(images).argmax(1)
    here = evaluate(model, images, labels, stressors="pgd-linf;eps=4/255")
    there = evaluate(model, images, labels, stressors="pgd-linf;eps=4/255", device="cuda")
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert there.device == "cuda"
    np.testing.assert_array_equal(here["pgd-linf"].states, there["pgd-linf"].states)
    assert evaluate(model.cuda(), images, labels, stressors=()).device.startswith("cuda")


IMAGES = torch.rand(6, 3, 8, 8)
LABELS = [0, 1, 2, 0, 1, 2]
NET = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
MISTAKES: dict[str, tuple[Callable[[], object], str, str]] = {
    "channels last": (
        lambda: evaluate(NET, IMAGES.permute(0, 2, 3, 1), LABELS),
        "inputs",
        r"shape \(6, 8, 8, 3\) looks like \(N, H, W, C\)",
    ),
    "a loader": (
        lambda: evaluate(NET, DataLoader(TensorDataset(IMAGES)), LABELS),  # type: ignore[arg-type]
        "inputs",
        r"not a DataLoader; images, labels = zip\(\*dataset\); pass torch\.stack\(images\)",
    ),
    "three axes": (lambda: evaluate(NET, IMAGES[:, 0], LABELS), "inputs", r"have shape \(N, C, H, W\)"),
    "no image": (lambda: evaluate(NET, IMAGES[:0], []), "inputs", "there is no image"),
    "levels as float": (lambda: evaluate(NET, IMAGES * 255, LABELS), "inputs", "divide by 255, or pass uint8"),
    "normalised before": (lambda: evaluate(NET, IMAGES * 4 - 2, LABELS), "inputs", "pass mean and std instead"),
    "not a number": (lambda: evaluate(NET, IMAGES * torch.nan, LABELS), "inputs", "not finite"),
    "sparse": (lambda: evaluate(NET, IMAGES.to_sparse(), LABELS), "inputs", "pass a dense tensor"),
    "sparse labels": (
        lambda: evaluate(NET, IMAGES, torch.tensor(LABELS).to_sparse()),
        "labels",
        r"pass a dense tensor \(values\.to_dense\(\)\), not one of layout torch\.sparse_coo",
    ),
    "no values": (lambda: evaluate(NET, IMAGES.to("meta"), LABELS), "inputs", "on the meta device have no values"),
    "labels without values": (
        lambda: evaluate(NET, IMAGES, torch.tensor(LABELS, device="meta")),
        "labels",
        "on the meta device have no values",
    ),
    "mean without values": (
        lambda: evaluate(NET, IMAGES, LABELS, mean=torch.zeros(3, device="meta"), std=1),  # type: ignore[arg-type]
        "mean",
        "on the meta device have no values",
    ),
    "masked images": (
        lambda: evaluate(NET, np.ma.masked_less(IMAGES.numpy(), 0.5), LABELS),
        "inputs",
        r"a masked array hides values; leave the masked samples out, or pass values\.filled\(\.\.\.\)",
    ),
    "a list with masked images": (
        lambda: evaluate(NET, [np.ma.masked_less(image, 0.5) for image in IMAGES.numpy()], LABELS),  # type: ignore[misc]
        "inputs",
        "a masked array hides values",
    ),
    "masked labels": (
        lambda: evaluate(NET, IMAGES, np.ma.masked_equal(LABELS, 2)),
        "labels",
        "a masked array hides values",
    ),
    "masked texts": (
        lambda: evaluate(NET, np.ma.array(["a", "b"], mask=[True, False]), [0, 1], tokenizer=lambda text: [1]),
        "inputs",
        "a masked array hides values",
    ),
    "masked mean": (
        lambda: evaluate(NET, IMAGES, LABELS, mean=np.ma.masked_equal([0.5, 0.25, 0.5], 0.25), std=1),  # type: ignore[arg-type]
        "mean",
        "a masked array hides values",
    ),
    "eight bits": (
        lambda: evaluate(NET, IMAGES.to(torch.float8_e4m3fn), LABELS),
        "inputs",
        "no array can be made of the tensor",
    ),
    "length": (
        lambda: evaluate(NET, IMAGES, LABELS, length=8),
        "length",
        "length is for texts, which need a tokenizer",
    ),
    "integers": (lambda: evaluate(NET, (IMAGES * 255).int(), LABELS), "inputs", "these are int32"),
    "ones as levels": (lambda: evaluate(NET, IMAGES.round().byte(), LABELS), "inputs", "only 0 and 1"),
    "few labels": (lambda: evaluate(NET, IMAGES, LABELS[:5]), "labels", "there are 5 for 6 inputs"),
    "float labels": (lambda: evaluate(NET, IMAGES, torch.rand(6)), "labels", "integers from 0, these are float32"),
    "one-hot labels": (lambda: evaluate(NET, IMAGES, np.eye(6, dtype=int)), "labels", r"shape \(N,\)"),
    "negative label": (lambda: evaluate(NET, IMAGES, [-1, *LABELS[1:]]), "labels", "start at 0"),
    "huge label": (
        lambda: evaluate(NET, IMAGES, np.array([2**63, *LABELS[1:]], np.uint64)),
        "labels",
        "9223372036854775808 is no class number",
    ),
    "high label": (lambda: evaluate(NET, IMAGES, [3, *LABELS[1:]]), "labels", r"classes 0..2, the highest label is 3"),
    "no model": (lambda: evaluate("vit", IMAGES, LABELS), "model", "no module and no function"),  # type: ignore[arg-type]
    "a class": (lambda: evaluate(Linear, IMAGES, LABELS), "model", "no module"),  # type: ignore[arg-type]
    "mean alone": (lambda: evaluate(NET, IMAGES, LABELS, mean=0.5), "mean", "std go together"),
    "two numbers": (lambda: evaluate(NET, IMAGES, LABELS, mean=[0, 1], std=1), "mean", "mean has 2 numbers"),
    "zero deviation": (lambda: evaluate(NET, IMAGES, LABELS, mean=0, std=0), "std", "above zero"),
    "no deviation": (lambda: evaluate(NET, IMAGES, LABELS, mean=0, std=[1, np.nan, 1]), "std", "std: .* finite, got"),
    "endless mean": (lambda: evaluate(NET, IMAGES, LABELS, mean=np.inf, std=1), "mean", "mean: .* finite, got inf"),
    "a mean beyond float32": (lambda: evaluate(NET, IMAGES, LABELS, mean=1e300, std=1), "mean", "beyond float32"),
    "an integer beyond floats": (
        lambda: evaluate(NET, IMAGES, LABELS, mean=-(10**400), std=1),
        "mean",
        "mean: .* beyond float32",
    ),
    "a deviation beyond float32": (
        lambda: evaluate(NET, IMAGES, LABELS, mean=[0, 0, 0], std=[1, 1e39, 1]),
        "std",
        "std: .* beyond float32",
    ),
    "a deviation too near to zero": (
        lambda: evaluate(NET, IMAGES, LABELS, mean=0, std=1e-300),
        "std",
        "std: .* beyond float32",
    ),
    "images normalised to infinity": (
        lambda: evaluate(NET, IMAGES, LABELS, mean=-1e30, std=1e-30),
        "std",
        "mean and std: normalised images are not finite",
    ),
    "a transform that drops samples": (
        lambda: evaluate(NET, IMAGES, LABELS, transform=lambda images: images[:1]),
        "transform",
        r"transform: returned shape \(1, 3, 8, 8\) for images of shape \(2, 3, 8, 8\); return one entry per image",
    ),
    "a transform that drops samples of some batches": (
        lambda: evaluate(NET, IMAGES, LABELS, transform=lambda images: images[:5]),
        "transform",
        r"transform: returned shape \(5, 3, 8, 8\)",
    ),
    "a transform that sums up": (
        lambda: evaluate(NET, IMAGES, LABELS, transform=lambda images: images.sum()),
        "transform",
        r"transform: returned shape \(\)",
    ),
    "a transform that raises": (
        lambda: evaluate(NET, IMAGES, LABELS, transform=lambda images: images[:, 7]),
        "transform",
        "transform: raised IndexError: index 7 is out of bounds",
    ),
    "a transform without a tensor": (
        lambda: evaluate(NET, IMAGES, LABELS, transform=lambda images: None),  # type: ignore[arg-type, return-value]
        "transform",
        "transform: returned NoneType, not a tensor",
    ),
    "both": (
        lambda: evaluate(NET, IMAGES, LABELS, mean=0, std=1, transform=lambda x: x),
        "transform",
        "pass one of them",
    ),
    "no output": (lambda: evaluate(NET, IMAGES, LABELS, outputs=[0, 3]), "outputs", r"outputs 0\.\.2, and no 3"),
    "one output": (lambda: evaluate(NET, IMAGES, LABELS, outputs=[1]), "outputs", "two different outputs"),
    "twice": (lambda: evaluate(NET, IMAGES, LABELS, outputs=[0, 1, 1]), "outputs", "each once"),
    "fractions": (lambda: evaluate(NET, IMAGES, LABELS, outputs=[0.5, 1]), "outputs", "numbers of outputs"),  # type: ignore[list-item]
    "few outputs": (lambda: evaluate(NET, IMAGES, LABELS, outputs=[2, 0]), "labels", r"classes 0\.\.1"),
    "seed": (lambda: evaluate(NET, IMAGES, LABELS, seed=-1), "seed", "not -1"),
    "batch size": (lambda: evaluate(NET, IMAGES, LABELS, batch_size=0), "batch_size", "not 0"),
    "device": (lambda: evaluate(NET, IMAGES, LABELS, device="tpu9"), "device", "cannot be used"),
    "text attack": (
        lambda: evaluate(NET, IMAGES, LABELS, stressors="hotflip;budget=1"),
        "stressors",
        "does not perturb images",
    ),
    "unknown number": (
        lambda: evaluate(NET, IMAGES, LABELS, stressors="pgd-linf;eps=1/255;stepps=2"),
        "stressors",
        "has no parameter 'stepps'",
    ),
    "training": (
        lambda: evaluate(NET, IMAGES, LABELS, stressors="label-noise;rate=1/10"),
        "stressors",
        "training data",
    ),
    "surrogate": (
        lambda: evaluate(NET, IMAGES, LABELS, stressors="transfer-linf;eps=1/255;source=vit"),
        "stressors",
        "second model",
    ),
    "suite": (
        lambda: evaluate(NET, IMAGES, LABELS, stressors=["corruption"]),
        "stressors",
        "'corruption' is a suite, which `run` takes; `evaluate` takes stressors, like 'fog;severity=3'",
    ),
    "no stressor": (lambda: evaluate(NET, IMAGES, LABELS, stressors=[8]), "stressors", "a int is neither"),  # type: ignore[list-item]
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line_that_names_the_parameter(mistake: str) -> None:
    from robustbench_wb import UsageError

    call, parameter, words = MISTAKES[mistake]
    with pytest.raises(UsageError, match=words) as caught:
        call()
    assert parameter in caught.value.parameters
    assert parameter in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("outputs", "labels", "note"),
    [
        (1000, lambda answers: (answers + 1) % 10, "labels lie in 0..9, but the model has 1000 outputs"),
        (10, lambda answers: (answers + 1) % 10, "no sample is correct without a perturbation"),
        (1000, lambda answers: answers, ""),
    ],
)
def test_labels_that_do_not_fit_the_outputs_are_noted(
    outputs: int, labels: Callable[[torch.Tensor], torch.Tensor], note: str
) -> None:
    """A head whose first ten outputs are the only ones that win; their numbers are the labels, or are not."""
    torch.manual_seed(0)
    head = nn.Linear(192, outputs)
    with torch.no_grad():
        head.bias[10:] = -100
    net = nn.Sequential(nn.Flatten(), head)
    images = torch.rand(40, 3, 8, 8)
    found = evaluate(net, images, labels(net(images).argmax(1)), stressors=())
    assert len(found.notes) == bool(note)
    assert "".join(found.notes).startswith(note)
    assert " ".join(found.notes) in " ".join(str(found).split())


def test_a_name_of_several_rows_is_refused_and_results_print_short() -> None:
    found = evaluate(NET, IMAGES, LABELS, stressors=["noise-linf;eps=4/255", "noise-linf;eps=8/255"])
    assert found["noise-linf@8/255"].strength == "8/255"
    with pytest.raises(KeyError, match="names 2 rows; use one of: noise-linf;eps=4/255;draws=10, noise"):
        found["noise-linf"]
    assert "clean" in found
    assert "pgd-linf" not in found
    assert repr(found) == str(found)
    assert re.fullmatch(r"<clean: [\d.]+ \[[\d.]+, [\d.]+\], n = 6>", repr(found["clean"]))


def test_a_tuple_is_no_shape() -> None:
    with pytest.raises(UsageError, match=r"shape: .* is not a shape; make an ImageShape or a TextShape"):
        build("crate", shape=(3, 8, 8))  # type: ignore[arg-type]


def test_calibration_and_detection_are_those_of_the_logits() -> None:
    model, images = Linear(), pictures(60)
    with torch.no_grad():
        chances = model(images).double().softmax(1).numpy()
    labels = (chances[:, 1] + np.random.default_rng(0).normal(0, 0.2, 60) > 0.5).astype(np.int64)
    given = ["contrast;severity=3", "ood-uniform-noise", "fgsm-linf;eps=1/255"]
    found = evaluate(model, images, labels, stressors=given, calibration=True)
    clean, outside = found["clean"], found["ood-uniform-noise"]
    assert clean.brier == pytest.approx(((chances - np.eye(2)[labels]) ** 2).sum(1).mean(), rel=1e-5)
    assert clean.ece == pytest.approx(looped(chances.max(1), chances.argmax(1) == labels), abs=1e-5)
    assert found["contrast"].ece_low is not None
    stressor = parse_stressor("ood-uniform-noise")
    assert isinstance(stressor, OutOfDistribution)
    with torch.no_grad():
        noise = model(stressor.perturb((255 * images).byte(), torch.arange(60), 0).float() / 255).amax(1).numpy()
        inside = model(images).amax(1).numpy()
    assert outside.auroc == pytest.approx(roc_auc_score(np.repeat([1, 0], 60), np.concatenate([inside, noise])))
    assert (outside.ece, clean.auroc, found["fgsm-linf"].ece, found["fgsm-linf"].brier) == (None,) * 4
    text = str(found)
    assert f"{100 * (clean.ece or 0):.1f} [" in text
    assert "AUROC %" in text
    frame = found.to_pandas()
    assert frame["brier"].notna().tolist() == [True, True, False, False]
    plain = evaluate(model, images, labels, stressors=given)
    assert (plain["clean"].ece, plain["ood-uniform-noise"].auroc) == (None, outside.auroc)
    assert "ECE" not in str(plain)
