"""Cost of a folder of photographs: seconds and peak memory of the first and the second start.

    python benchmarks/pictures.py --classes 10 --per-class 100 --megapixels 6 --samples 1000

Writes smooth random JPEG photographs into a temporary folder, and evaluates a small model of timm with random weights
on them twice, in new processes with an empty cache at first: suite ``clean``, 224 x 224 pixels. Prints per start the
wall seconds and the largest resident memory of any one process. The difference between the starts is reading and
decoding; an empty run of the interpreter with all imports is printed for comparison.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

MODEL = "timm:vit_tiny_patch16_224;pretrained=false"


def write_photographs(folder: Path, *, classes: int, per_class: int, megapixels: float) -> None:
    """JPEG files of quality 90 with the given number of pixels, 4 to 3, in class folders."""
    size = round((megapixels * 1e6 * 4 / 3) ** 0.5), round((megapixels * 1e6 * 3 / 4) ** 0.5)
    generator = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class{label}").mkdir(parents=True)
        for number in range(per_class):
            levels = generator.integers(0, 256, (60 + label, 80, 3), np.uint8)
            picture = Image.fromarray(levels).resize(size, Image.Resampling.BICUBIC)
            picture.save(folder / f"class{label}" / f"{number}.jpg", quality=90)


def measured(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall seconds of a command, and the largest resident memory (GB) of any process below this one so far."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--megapixels", type=float, default=6.0)
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as place:
        photographs = Path(place) / "photographs"
        write_photographs(
            photographs, classes=options.classes, per_class=options.per_class, megapixels=options.megapixels
        )
        environment = {**os.environ, "RBWB_CACHE_DIR": f"{place}/cache"}
        run = ["-m", "robustbench_wb", "run", "--task", f"folder:{photographs}", "--variant", MODEL, "--recipe", "none"]
        run += ["--suite", "clean", "--samples", str(options.samples), "--results", f"{place}/results"]
        console.print(f"{options.classes * options.per_class} photographs of {options.megapixels:g} megapixels")
        for name, command in (
            (
                "imports",
                [
                    "-c",
                    "from robustbench_wb.models.providers.library import load_library as load; load('timm', 'timm')",
                ],
            ),
            ("first start", run),
            ("second start", run),
        ):
            seconds, memory = measured(command, environment)
            console.print(f"{name}: {seconds:.1f} s, largest process {memory:.2f} GB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
