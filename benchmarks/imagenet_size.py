"""A folder of photographs at 224 pixels, from JPEG files to robust accuracies: seconds, memory, and equal results.

    python benchmarks/imagenet_size.py --samples 1000 --folder /tmp/photographs

Writes generated JPEG photographs (a colour per class, with coarse patterns and noise) in class folders, for training
and for evaluation, and runs three things through the command line, each in a process of its own:

- ViT-Ti/16 of timm with random weights at 224 x 224 pixels;
- the same architecture for 64 x 64 pixels, trained adversarially for one epoch, so that something holds;
- both again with another batch size, and with another number of samples per job.

Suites: clean, PGD-40 at four radii, the quick ensemble, PGD of torchattacks, and the 15 corruptions. Prints wall
seconds, processor seconds and the largest resident memory of each command, the second start beside the imports alone,
and how many outcomes differ between batch sizes and job sizes: none may. Processor seconds say what a command costs
where other programs run as well. The same ``--folder`` resumes what was stopped.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pictures import IMPORTS, TIMM, Cost, measured
from PIL import Image, ImageChops
from rich.console import Console

MODEL = """
from robustbench_wb.models.providers.library import load_library

timm = load_library("timm", "timm")  # beside a torchvision without its compiled operators, too


def small(shape):
    size = {"img_size": shape.height, "patch_size": shape.height // 8, "num_classes": shape.classes}
    return timm.create_model("vit_tiny_patch16_224", **size)
"""
CLASSES = 10
ATTACKS = (
    *(f"pgd-linf;eps={eps};steps=40" for eps in ("1/255", "2/255", "4/255", "8/255")),
    "quick-linf;eps=4/255",
    "torchattacks:PGD;eps=4/255;steps=10",
)
PROGRAM = ("-m", "robustbench_wb")
SMALL_JOBS = (
    "-c",
    "from robustbench_wb.engine import task_samples; task_samples.BATCH_BYTES = 1 << 20; "
    "from robustbench_wb.__main__ import main; main()",
)
"""The program with fewer samples in a job: no more than a batch."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One model at one size under one kind of stressors."""

    name: str
    task: str
    model: str
    recipe: str
    suite: str
    stressors: Sequence[str] = ()
    """Signatures; empty: those of the suite."""
    samples: int

    @property
    def arguments(self) -> list[str]:
        """Arguments of the command ``run``."""
        model = ["--variant", self.model, "--recipe", self.recipe, "--suite", self.suite]
        stressors = [word for signature in self.stressors for word in ("--stressor", signature)]
        return ["run", "--task", self.task, *model, *stressors, "--samples", str(self.samples), "--progress", "none"]


def write_photographs(folder: Path, *, per_class: int, megapixels: float, first: int) -> None:
    """JPEG files of quality 90, 4 to 3, in ten class folders, by all cores: each class has a colour of its own."""
    colours = np.random.default_rng(0).uniform(60, 195, (CLASSES, 3))
    numbers = range(first, first + per_class)
    with ProcessPoolExecutor() as pool:
        tasks = [
            pool.submit(
                _write_class, folder / f"class{label}", colour, label=label, numbers=numbers, megapixels=megapixels
            )
            for label, colour in enumerate(colours)
        ]
        for task in tasks:
            task.result()


def _write_class(folder: Path, colour: NDArray[np.float64], *, label: int, numbers: range, megapixels: float) -> None:
    size = round((megapixels * 1e6 * 4 / 3) ** 0.5), round((megapixels * 1e6 * 3 / 4) ** 0.5)
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(label).normal(128, 6, size[::-1]).clip(0, 255).astype(np.uint8)
    grain = Image.merge("RGB", [Image.fromarray(noise)] * 3)
    for number in numbers:
        generator = np.random.default_rng((label, number))
        levels = colour + generator.normal(0, 40, (12, 16, 3)) + generator.normal(0, 25, 3)
        coarse = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
        moved = ImageChops.offset(grain, *generator.integers(0, size).tolist())
        ImageChops.add(coarse, moved, offset=-128).save(folder / f"{number}.jpg", quality=90)


def differing(old: str, new: str) -> tuple[int, int]:
    """Number of samples with another outcome, and of compared cells, between two versions of the score table."""
    command = [sys.executable, "-m", "robustbench_wb", "diff", old, new, "--json"]
    pairs = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["pairs"]
    return sum(pair["lost"] + pair["gained"] for pair in pairs), len(pairs)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-class", type=int, default=100, help="photographs to evaluate, and as many to train on")
    parser.add_argument("--megapixels", type=float, default=6.0, help="of those to evaluate; the others have 1")
    parser.add_argument("--samples", type=int, default=1000, help="evaluated without a perturbation")
    parser.add_argument("--attacked-samples", type=int, help="default: --samples")
    parser.add_argument("--corrupted-samples", type=int, help="of the 15 corruptions; default: --samples")
    parser.add_argument("--compared-samples", type=int, default=100, help="attacked again in other batches")
    parser.add_argument("--pixels", type=int, choices=(64, 224), help="only the model of this size; default: both")
    parser.add_argument("--folder", type=Path, default=None, help="kept; default: a temporary folder")
    return parser.parse_args()


def main() -> int:
    options = parse()
    with tempfile.TemporaryDirectory() as temporary:
        evaluate(options, options.folder or Path(temporary))
    return 0


def write_all(options: argparse.Namespace, photographs: Path) -> None:
    """Write the photographs of both splits; a split that is there is kept."""
    for split, first, megapixels in (("train", 0, 1.0), ("val", options.per_class, options.megapixels)):
        if not (photographs / split).is_dir():
            unfinished = photographs.with_name("unfinished") / split
            shutil.rmtree(unfinished, ignore_errors=True)
            write_photographs(unfinished, per_class=options.per_class, megapixels=megapixels, first=first)
            photographs.mkdir(exist_ok=True)
            unfinished.rename(photographs / split)


def planned_parts(options: argparse.Namespace, place: Path) -> list[Part]:
    """All commands that are timed, those without a perturbation first."""
    photographs, script = place / "photographs", place / "small_vit.py"
    script.write_text(MODEL, encoding="utf-8")
    whole = {"task": f"folder:{photographs};size=224;resize=256", "recipe": "none", "model": TIMM}
    small = {"task": f"folder:{photographs};size=64;resize=72", "recipe": "pgd-at;epochs=1;batch=32"}
    small |= {"model": f"{script}:small"}
    models = {f"{size} px": one for size, one in ((64, small), (224, whole)) if options.pixels in (None, size)}
    attacked, corrupted = (
        options.samples if count is None else count for count in (options.attacked_samples, options.corrupted_samples)
    )
    return [
        *(Part(name=f"{size}, clean", suite="clean", samples=options.samples, **one) for size, one in models.items()),
        *(
            Part(name=f"{size}, attacks", suite="adversarial", stressors=ATTACKS, samples=attacked, **one)
            for size, one in models.items()
        ),
        *(
            Part(name=f"{size}, corruptions", suite="corruption", samples=corrupted, **one)
            for size, one in models.items()
        ),
    ]


def evaluate(options: argparse.Namespace, place: Path) -> None:
    """Write the photographs and run everything."""
    console = Console(width=120)
    place.mkdir(parents=True, exist_ok=True)
    write_all(options, place / "photographs")
    environment = {**os.environ, "RBWB_CACHE_DIR": f"{place}/cache"}

    def results(part: Part, name: str) -> str:
        return f"{place}/{name}-{part.name.partition(' ')[0]}"

    def run(part: Part, name: str, *more: str, program: Sequence[str] = PROGRAM) -> Cost:
        return measured([*program, *part.arguments, "--results", results(part, name), *more], environment)

    console.print(f"imports alone: {measured(['-c', IMPORTS], environment)}")
    parts = planned_parts(options, place)
    for part in parts:
        console.print(f"{part.name}, {part.samples} samples: {run(part, 'results')}")
        console.print(f"{part.name}, second start: {run(part, 'results')}")
    for part in (replace(part, samples=options.compared_samples) for part in parts if part.stressors):
        run(part, "batch-8", "--batch-size", "8")
        run(part, "batch-50", "--batch-size", "50")
        run(part, "jobs", "--batch-size", "8", program=SMALL_JOBS)
        for other, what in (("batch-50", "batch sizes 8 and 50"), ("jobs", "jobs of 256 and 1 MB")):
            differ, cells = differing(results(part, "batch-8"), results(part, other))
            console.print(f"{part.name}, {part.samples} samples, {what}: {differ} outcomes differ in {cells} cells")


if __name__ == "__main__":
    sys.exit(main())
