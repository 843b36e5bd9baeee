"""Speed of generating Pathfinder images, share of rejected images, and accuracy of shortcuts.

    python benchmarks/pathfinder.py [--count 10000] [--processes N] [--seed 0] [--shortcuts]

``--shortcuts`` adds the accuracy of two classifiers that follow no curve, trained on five sixths of the images and
tested on one sixth: gradient boosting on the places of the two markers and all distances, and logistic regression on
the pixels. ``raw`` is the first classifier on images whose markers are not balanced by twins. Chance is 50 %.
"""

import argparse
import os
import time

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from robustbench_wb.streams import RandomStream
from robustbench_wb.tasks.pathfinder.generate import PathfinderImages, generate_images
from robustbench_wb.tasks.pathfinder.grow import BlockedPixels, grow_long
from robustbench_wb.tasks.pathfinder.paddle_tables import cached_paddle_tables
from robustbench_wb.tasks.pathfinder.parameters import EASY, HARD, INTERMEDIATE, PATH_X, PathfinderParameters

PRESETS = {"easy": EASY, "intermediate": INTERMEDIATE, "hard": HARD, "path-x": PATH_X}


def marker_features(markers: NDArray[np.int16], parameters: PathfinderParameters) -> NDArray[np.float64]:
    """Distances between the two markers, to the centre and to the sides, and their places in raster order.

    Returns:
        Features in pixels, (N, 12).
    """
    places = markers / parameters.antialias
    order = np.lexsort((places[..., 1], places[..., 0]), axis=1)
    places = np.take_along_axis(places, order[..., None], axis=1)
    from_centre = places - parameters.window / 2
    radii = np.sort(np.hypot(from_centre[..., 0], from_centre[..., 1]), axis=1)
    apart = places[:, 0] - places[:, 1]
    sides = abs(from_centre).reshape(-1, 4)
    return np.column_stack([np.hypot(*apart.T), abs(apart).max(1), radii, places.reshape(-1, 4), sides])


def marker_accuracy(markers: NDArray[np.int16], labels: NDArray[np.int64], parameters: PathfinderParameters) -> float:
    """Test accuracy of gradient boosting on the places of the two markers."""
    cut = len(labels) * 5 // 6
    features = marker_features(markers, parameters)
    model = HistGradientBoostingClassifier(max_depth=4, learning_rate=0.05, max_iter=150, random_state=0)
    return float(model.fit(features[:cut], labels[:cut]).score(features[cut:], labels[cut:]))


def pixel_accuracy(made: PathfinderImages) -> float:
    """Test accuracy of logistic regression on the pixels in [0, 1]."""
    cut = len(made.labels) * 5 // 6
    pixels = made.images.reshape(len(made.images), -1) / 255
    model = LogisticRegression(max_iter=2000)
    return float(model.fit(pixels[:cut], made.labels[:cut]).score(pixels[cut:], made.labels[cut:]))


def unbalanced_markers(
    count: int, parameters: PathfinderParameters, seed: int
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Markers (N, 2, 2) and labels (N,) of images without twins."""
    words = RandomStream(seed, "raw")
    parts: list[NDArray[np.int64]] = []
    while sum(map(len, parts)) < count:
        parts.append(grow_long(BlockedPixels.empty(cached_paddle_tables(parameters), 1024), words)[1])
    long = np.concatenate(parts)[:count]
    every, labels = np.arange(count), np.arange(count) % 2
    which = words.integers(2, count)
    ends = long[every, np.where(labels == 1, which, 1 - which), -1]
    return np.stack([long[every, which, 0], ends], axis=1).astype(np.int16), labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shortcuts", action="store_true", help="add the accuracy of shortcuts")
    parser.add_argument("--preset", action="append", choices=PRESETS, help="may be repeated; default: all")
    options = parser.parse_args()
    print(f"{options.count:,} images, {options.processes} processes, numpy {np.__version__}")
    extra = " markers alone | markers, raw | pixels |" if options.shortcuts else ""
    print(f"| images | side | seconds | images/s | placed / tried | paired / placed |{extra}")
    print(f"|---|---|---|---|---|---|{'---|---|---|' if options.shortcuts else ''}")
    for name in options.preset or PRESETS:
        parameters = PRESETS[name]
        started = time.perf_counter()
        made = generate_images(
            options.count, parameters, seed=options.seed, label="benchmark", processes=options.processes
        )
        took = time.perf_counter() - started
        tally = made.tally
        line = f"| {name} | {parameters.window} | {took:.1f} | {options.count / took:.0f} "
        line += f"| {tally.placed / tally.tried:.1%} | {tally.paired / tally.placed:.1%} |"
        if options.shortcuts:
            own = marker_accuracy(made.markers, made.labels, parameters)
            markers, labels = unbalanced_markers(options.count, parameters, options.seed)
            raw = marker_accuracy(markers, labels, parameters)
            line += f" {own:.2%} | {raw:.2%} | {pixel_accuracy(made):.2%} |"
        print(line, flush=True)


if __name__ == "__main__":
    main()
