"""One run on a GPU: seconds, share of model passes, memory, and what a search in less precision changes.

    python benchmarks/gpu.py [--checkpoint FILE] [--minutes 8]
    python benchmarks/gpu.py --device cpu --small

ViT-B/16 of timm at 224 pixels is evaluated on generated images, with the labels that it predicts itself: by PGD-40 at
four radii on 512 images, by the corruptions on 1,000, and by AutoAttack on 128; with a search in float32 and in
bfloat16, each twice, for the noise floor. Nothing is downloaded: the model has the weights of a checkpoint, or random
ones, with a head that finds the nearest mean of the features of ten patterns, and a normalisation with which half of
the images break near the second radius. What does not fit into the minutes is skipped or cut short, and the table says
so.
"""

import argparse
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb import Evaluation, evaluate
from robustbench_wb.api.evaluation import EvaluationRow
from robustbench_wb.engine.batch import safe_batch
from robustbench_wb.engine.device import choose_device, hardware
from robustbench_wb.engine.request import SearchPrecision
from robustbench_wb.engine.time_limit import time_limit
from robustbench_wb.float_precision import exact_float32
from robustbench_wb.interrupts import OutOfTimeError
from robustbench_wb.models.providers.library import load_library
from robustbench_wb.suites.suite import find_suite

PATTERNS: Final = 10
"""Kinds of generated images."""
RADII: Final = ("1/255", "2/255", "4/255", "8/255")
TARGET: Final = 2 / 255
"""Linf radius at which about half of the images break, to first order, if the weights are random."""
PRECISIONS: Final[tuple[SearchPrecision, ...]] = ("float32", "bfloat16")
MOST: Final = 512
"""Largest batch."""
RESERVE: Final = 10.0
"""Seconds of the budget that are left for the tables."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is run."""

    model: str
    options: dict[str, int]
    side: int
    images: int
    corrupted: int
    attacked: int
    """Images of the ensemble."""
    steps: int
    ensemble: str
    corruptions: int
    """Number of kinds of corruption, each at severity 3."""


FULL: Final = Size(
    model="vit_base_patch16_224",
    options={},
    side=224,
    images=512,
    corrupted=1000,
    attacked=128,
    steps=40,
    ensemble="autoattack-linf",
    corruptions=15,
)
SMALL: Final = Size(
    model="vit_tiny_patch16_224",
    options={"img_size": 32, "patch_size": 16, "depth": 1},
    side=32,
    images=12,
    corrupted=32,
    attacked=6,
    steps=5,
    ensemble="quick-linf",
    corruptions=3,
)


class Timed(nn.Module):
    """A model that measures the time of its forward passes and input gradients, on the clock of its device."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.spans: list[tuple[float | torch.cuda.Event, float | torch.cuda.Event]] = []

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) for images (B, C, H, W)."""
        started = _now(images)
        logits: Tensor = self.model(images)
        self.spans.append((started, _now(images)))
        if logits.requires_grad and images.requires_grad:
            begun: list[float | torch.cuda.Event] = []
            logits.register_hook(lambda gradient: begun.append(_now(gradient)))  # type: ignore[no-untyped-call]
            images.register_hook(  # type: ignore[no-untyped-call]
                lambda gradient: self.spans.append((begun.pop(), _now(gradient)))
            )
        return logits

    def take_seconds(self) -> float:
        """Seconds of all passes since the last call; waits for the device."""
        spans, self.spans = self.spans, []
        if spans and isinstance(spans[0][0], torch.cuda.Event):
            torch.cuda.synchronize()
        return sum(_seconds(start, end) for start, end in spans)


def _now(tensor: Tensor) -> float | torch.cuda.Event:
    if not tensor.is_cuda:
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def _seconds(start: float | torch.cuda.Event, end: float | torch.cuda.Event) -> float:
    if isinstance(start, torch.cuda.Event) and isinstance(end, torch.cuda.Event):
        return float(start.elapsed_time(end)) / 1000
    return float(end) - float(start)  # type: ignore[arg-type]


@dataclass(eq=False, kw_only=True)
class Subject:
    """A model on its device, its normalisation, and the time that is left."""

    model: Timed
    device: torch.device
    std: float
    """Standard deviation of the normalisation; the mean is 0.5."""
    deadline: float
    batch: int = 1
    """Samples per forward pass. If ``evaluate`` looked for it, its trials would be the peak memory."""
    parts: list["Part"] = field(default_factory=list)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.deadline - time.perf_counter()

    def logits(self, images: Tensor) -> Tensor:
        """Logits of images (B, C, H, W) in [0, 1], as ``evaluate`` computes them."""
        found: Tensor = self.model.model((images.to(self.device) - 0.5) / self.std)
        return found


@dataclass(frozen=True, eq=False, kw_only=True)
class Part:
    """One call of ``evaluate``."""

    name: str
    images: int
    precision: SearchPrecision
    repetition: int
    share: float = 0.0
    """Share of the whole time in which the model computes."""
    memory: int = 0
    result: Evaluation | None = None
    """None: there was no time for it."""

    @property
    def seconds(self) -> float:
        """Seconds of all evaluations; those of the probe, which grades the attacks, are not among them."""
        return sum(row.seconds for row in self.rows)

    @property
    def rows(self) -> tuple[EvaluationRow, ...]:
        """Evaluations beside the clean one."""
        return () if self.result is None else self.result.rows[1:]


def build(size: Size, checkpoint: str | None, device: torch.device) -> Timed:
    """The model, with random weights from a fixed seed, or those of a checkpoint of timm."""
    timm = load_library("timm", "timm")
    torch.manual_seed(0)
    classes = {} if checkpoint else {"num_classes": PATTERNS}
    model: nn.Module = timm.create_model(
        size.model, pretrained=False, checkpoint_path=checkpoint or "", **size.options, **classes
    )
    return Timed(model).to(device).eval().requires_grad_(False)


def make_images(count: int, side: int) -> NDArray[np.uint8]:
    """Smooth coloured patterns, image i a variation of pattern i mod 10, with fine noise; uint8 (N, 3, side, side)."""
    generator = torch.Generator().manual_seed(1)
    patterns = torch.rand(PATTERNS, 3, 5, 5, generator=generator)[torch.arange(count) % PATTERNS]
    coarse = 0.7 * patterns + 0.3 * torch.rand(count, 3, 5, 5, generator=generator)
    smooth = functional.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)
    fine = 0.05 * torch.randn(count, 3, side, side, generator=generator)
    pixels: NDArray[np.uint8] = (255 * (smooth + fine).clamp(0, 1)).round().to(torch.uint8).numpy()
    return pixels


def batched(subject: Subject, images: NDArray[np.uint8], ask: Callable[[Tensor], Tensor]) -> Tensor:
    """What a function returns for all images, in batches, on the CPU."""
    whole = torch.from_numpy(images).float() / 255
    return torch.cat([ask(part.to(subject.device)).cpu() for part in torch.split(whole, 64)])


def first_order_radius(subject: Subject, images: NDArray[np.uint8]) -> float:
    """Median Linf radius at which the two best classes of an image swap, if the model were linear."""

    def radius(pixels: Tensor) -> Tensor:
        with torch.enable_grad():
            pixels.requires_grad_(True)
            best = subject.logits(pixels).topk(2).values
            (gradient,) = torch.autograd.grad((best[:, 0] - best[:, 1]).sum(), pixels)
        return (best[:, 0] - best[:, 1]).detach() / gradient.abs().flatten(1).sum(1)

    return float(batched(subject, images, radius).median())


def fit_head(subject: Subject, images: NDArray[np.uint8]) -> None:
    """Let a model with random weights tell the patterns apart: its head finds the nearest mean of their features.

    The normalisation is chosen so that the model breaks near the target radius.
    """
    model: Any = subject.model.model
    truth = torch.arange(len(images)) % PATTERNS

    def features(pixels: Tensor) -> Tensor:
        found: Tensor = model.forward_head(model.forward_features((pixels - 0.5) / subject.std), pre_logits=True)
        return found

    for _ in range(4):
        with torch.no_grad():
            found = batched(subject, images, features)
            means = torch.stack([found[truth == pattern].mean(0) for pattern in range(PATTERNS)])
            middle = means.mean(0)
            rows = 10 * (means - middle) / (means - middle).square().sum(1).mean()
            model.head.weight.copy_(rows)
            model.head.bias.copy_(-((means + middle) / 2 * rows).sum(1))
        subject.std *= TARGET / max(first_order_radius(subject, images), 1e-9)


@contextmanager
def reset_memory(device: torch.device) -> Iterator[None]:
    """Count the peak memory of this block alone, where the device can."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    yield


def peak_memory(device: torch.device) -> int:
    """Peak bytes of the device; on the CPU those of the process since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(
    subject: Subject, name: str, images: NDArray[np.uint8], *, stressors: Sequence[str], repetition: int
) -> None:
    """Evaluate in each precision, if there is time. A part that takes longer than all that is left is cut short."""
    with torch.no_grad():
        labels = batched(subject, images, subject.logits).argmax(1).numpy()
    searched = [stressor for stressor in stressors if "severity" not in stressor]
    for precision in PRECISIONS if searched else PRECISIONS[:1]:
        part = {"name": name, "images": len(images), "precision": precision, "repetition": repetition}
        if subject.left <= RESERVE:
            subject.parts.append(Part(**part))  # type: ignore[arg-type]
            continue
        subject.model.take_seconds()
        started = time.perf_counter()
        result = None
        with suppress(OutOfTimeError), reset_memory(subject.device), time_limit(subject.left - RESERVE):
            result = evaluate(
                subject.model,
                images,
                labels,
                stressors=stressors,
                mean=0.5,
                std=subject.std,
                device=subject.device,
                batch_size=subject.batch,
                search_precision=precision,
            )
        passes = subject.model.take_seconds()
        part |= {"memory": peak_memory(subject.device), "share": passes / (time.perf_counter() - started)}
        subject.parts.append(Part(**part, result=result))  # type: ignore[arg-type]
        print(f"<!-- {name}, {precision}, {repetition}: {time.perf_counter() - started:.0f} s -->", flush=True)


def print_header(*names: str) -> None:
    """Head of a Markdown table."""
    print(f"\n| {' | '.join(names)} |\n|{'---|' * len(names)}")


def print_parts(parts: Sequence[Part]) -> None:
    """Time, share of model passes and memory of each call."""
    print_header("part", "images", "search", "run", "seconds", "model passes", "peak GB", "unfinished")
    for part in parts:
        failed = sum(bool(row.error) for row in part.rows)
        numbers = [
            f"{part.seconds:.1f}",
            f"{part.share:.2f}",
            f"{part.memory / 1e9:.2f}",
            f"{failed} of {len(part.rows)}",
        ]
        if part.result is None:
            numbers = ["no time left", "", "", ""]
        cells = [part.name, str(part.images), part.precision, str(part.repetition), *numbers]
        print("| " + " | ".join(cells) + " |")


def print_cells(parts: Sequence[Part]) -> None:
    """Accuracy, outcomes that differ between two equal runs and between precisions, and those of the second pass."""
    changes = ("below float32", "unlike float32", "unlike second run", "second pass differs")
    print_header("evaluation", "search", "accuracy %", *changes, "passes")
    known = {
        (part.name, part.precision, part.repetition, row.name): row
        for part in parts
        for row in part.rows
        if not row.error
    }
    for (name, precision, repetition, cell), row in known.items():
        if repetition != 1:
            continue
        again = known.get((name, precision, 2, cell))
        exact = known.get((name, "float32", 1, cell))
        numbers = [
            f"{100 * row.accuracy:.2f}",
            "" if exact is None or exact is row else f"{100 * (exact.accuracy - row.accuracy):.2f}",
            "" if exact is row else _unlike(row, exact),
            _unlike(row, again),
            _second_pass(row),
            f"{row.forwards:.0f} + {row.backwards:.0f}",
        ]
        print(f"| {cell} | {precision} | " + " | ".join(numbers) + " |")


def _unlike(row: EvaluationRow, other: EvaluationRow | None) -> str:
    return "" if other is None else f"{int((row.states != other.states).sum())} of {row.n}"


def _second_pass(row: EvaluationRow) -> str:
    """Outcomes that the second pass changed (wobble), as the grade of an attack says; empty for other stressors."""
    return next((check.reason.partition(" outcomes")[0] for check in row.checks if check.name == "verdicts"), "")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--checkpoint", help="weights of the model, as timm reads them; default: random")
    parser.add_argument("--minutes", type=float, default=8.0, help="budget of everything after the imports")
    parser.add_argument("--small", action="store_true", help="a tiny model and few images, to test this script")
    return parser.parse_args()


def main() -> None:
    started = time.perf_counter()
    options = parse()
    size, device = SMALL if options.small else FULL, choose_device(options.device)
    exact_float32(torch)  # for the labels; evaluations set it themselves
    if device.type == "cuda":
        torch.cuda.set_device(device)  # for the events that take the time
    model = build(size, options.checkpoint, device)
    subject = Subject(model=model, device=device, std=0.5, deadline=started + 60 * options.minutes)
    images = make_images(max(size.images, size.corrupted), size.side)
    if options.checkpoint is None:
        fit_head(subject, images[:100])
    first = torch.from_numpy(images[:8]).to(device).float() / 255
    subject.batch = max(1, min(safe_batch(model, first)[0] or MOST, MOST))
    told = {"weights": options.checkpoint or "random", "pixels": size.side, "std": f"{subject.std:.3g}"}
    told |= {"batch": subject.batch, "torch": torch.__version__, **hardware(device)}
    print(", ".join([size.model, *(f"{name} {value}" for name, value in told.items())]), flush=True)
    attacks = [f"pgd-linf;eps={radius};steps={size.steps};loss=ce" for radius in RADII]
    lines = find_suite("corruption").stressors[1 : 1 + size.corruptions]
    for repetition in (1, 2):
        measure(subject, "PGD", images[: size.images], stressors=attacks, repetition=repetition)
        ensemble = [f"{size.ensemble};eps={RADII[-1]}"]
        measure(subject, size.ensemble, images[: size.attacked], stressors=ensemble, repetition=repetition)
        corruptions = [f"{line.use};severity=3" for line in lines]
        measure(subject, "corruption", images[: size.corrupted], stressors=corruptions, repetition=repetition)
    print_parts(subject.parts)
    print_cells(subject.parts)
    print(f"\n{time.perf_counter() - started:.0f} s of {60 * options.minutes:.0f} s")


if __name__ == "__main__":
    main()
