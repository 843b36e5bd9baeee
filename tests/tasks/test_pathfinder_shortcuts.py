"""Two strong classifiers that do not follow curves are at chance level on Pathfinder."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from robustbench_wb.tasks.pathfinder.generate import generate_images
from robustbench_wb.tasks.pathfinder.parameters import EASY, HARD
from robustbench_wb.tasks.pathfinder.trace import find_markers

TRAIN, TEST = 5000, 1000
LIMIT = 0.5 + 3 * 0.5 / TEST**0.5
"""Three standard errors above chance."""


def of_markers(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Features from pixels: positions of both markers, their distance, and their distances from the centre."""
    places = find_markers(images).astype(float)
    radii = np.sort(np.hypot(*(places - 15.5).transpose(2, 0, 1)), axis=1)
    return np.column_stack([places.reshape(-1, 4), np.hypot(*(places[:, 0] - places[:, 1]).T), radii])


@pytest.mark.slow
def test_markers_alone_are_at_chance() -> None:
    """Easy images have short snakes: without twins, this classifier has an accuracy of two thirds."""
    made = generate_images(TRAIN + TEST, EASY, seed=0, label="shortcuts")
    features = of_markers(made.images)
    model = HistGradientBoostingClassifier(max_depth=4, learning_rate=0.05, max_iter=150, random_state=0)
    model.fit(features[:TRAIN], made.labels[:TRAIN])
    assert model.score(features[TRAIN:], made.labels[TRAIN:]) < LIMIT
    assert made.labels[TRAIN:].mean() == 0.5


@pytest.mark.slow
def test_pixels_alone_are_at_chance_for_a_linear_model() -> None:
    made = generate_images(TRAIN + TEST, HARD, seed=0, label="shortcuts")
    pixels = made.images.reshape(TRAIN + TEST, -1) / 255
    model = LogisticRegression(max_iter=2000).fit(pixels[:TRAIN], made.labels[:TRAIN])
    assert model.score(pixels[:TRAIN], made.labels[:TRAIN]) > 0.55  # it fits the training images
    assert model.score(pixels[TRAIN:], made.labels[TRAIN:]) < LIMIT
