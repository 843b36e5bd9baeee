"""Pathfinder images compared with brute force: rendering, and labels that the pixels alone determine."""

import hashlib
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from robustbench_wb.errors import DataError, UsageError
from robustbench_wb.streams import RandomStream
from robustbench_wb.tasks.pathfinder.generate import BLOCK, PathfinderImages, generate_images
from robustbench_wb.tasks.pathfinder.grow import BlockedPixels, grow_long
from robustbench_wb.tasks.pathfinder.paddle_tables import PaddleTables, cached_paddle_tables
from robustbench_wb.tasks.pathfinder.parameters import EASY, HARD, INTERMEDIATE, PATH_X, PathfinderParameters
from robustbench_wb.tasks.pathfinder.trace import find_markers, trace_labels

GOLDEN = "20f9fea7cb92e1c4fc1e92d2677a913e9d16b6dcb4dfa65fb9a8dad57bf1729f"
PRESETS = {"easy": EASY, "intermediate": INTERMEDIATE, "hard": HARD}


@pytest.fixture(scope="module")
def hard() -> PathfinderImages:
    return generate_images(1000, HARD, seed=0, label="test", processes=1)


def follow(image: NDArray[np.uint8], gap: int) -> tuple[int, int]:
    """Walk along the ink from one marker, pixel by pixel in plain loops, and return (label, ends).

    ``ends`` is 1 if no reached pixel is further along the ink than the other marker.
    """
    side = len(image)
    white = [(int(r), int(c)) for r, c in np.argwhere(image == 255)]
    start = white[0]
    first = {p for p in white if max(abs(p[0] - start[0]), abs(p[1] - start[1])) <= 3}
    second = set(white) - first
    steps = dict.fromkeys(first, 0)
    queue = deque(first)
    while queue:
        row, column = queue.popleft()
        for r in range(max(0, row - gap), min(side, row + gap + 1)):
            for c in range(max(0, column - gap), min(side, column + gap + 1)):
                if image[r, c] and (r, c) not in steps:
                    steps[r, c] = steps[row, column] + 1
                    queue.append((r, c))
    if not second <= set(steps):
        return 0, 1
    return 1, int(max(steps[p] for p in second) >= max(steps.values()) - 1)


def fine_ink(points: NDArray[np.int16], parameters: PathfinderParameters) -> NDArray[np.bool_]:
    """Paddles of a snake on the fine grid, by definition: cells within a rectangle around each midpoint."""
    scale = parameters.antialias
    side = parameters.window * scale
    rows, columns = np.mgrid[:side, :side]
    ink = np.zeros((side, side), bool)
    for (r0, c0), (r1, c1) in zip(points[:-1].tolist(), points[1:].tolist(), strict=True):
        length = ((r1 - r0) ** 2 + (c1 - c0) ** 2) ** 0.5
        along = ((rows - (r0 + r1) / 2) * (r1 - r0) + (columns - (c0 + c1) / 2) * (c1 - c0)) / length
        across = ((columns - c0) * (r1 - r0) - (rows - r0) * (c1 - c0)) / length
        half, wide = parameters.paddle_length * scale / 2, parameters.thickness * scale / 2
        ink |= (along >= -half - 1e-9) & (along < half - 1e-9) & (across >= -wide - 1e-9) & (across < wide - 1e-9)
    return ink


def shares(ink: NDArray[np.bool_], parameters: PathfinderParameters) -> NDArray[np.float64]:
    """Covered share of each pixel, computed pixel by pixel."""
    scale, side = parameters.antialias, parameters.window
    return np.array(
        [
            [ink[r * scale : (r + 1) * scale, c * scale : (c + 1) * scale].sum() / scale**2 for c in range(side)]
            for r in range(side)
        ]
    )


def snakes_of(made: PathfinderImages, index: int) -> list[NDArray[np.int16]]:
    return [*made.long[index], *made.short[index]]


def disk(centre: NDArray[np.int16], parameters: PathfinderParameters) -> NDArray[np.bool_]:
    side = parameters.window * parameters.antialias
    rows, columns = np.mgrid[:side, :side]
    radius = parameters.marker_radius * parameters.antialias
    return (rows - int(centre[0])) ** 2 + (columns - int(centre[1])) ** 2 <= radius**2


@pytest.mark.slow(2)
def test_pixels_alone_tell_the_label_of_all_thousand_images(hard: PathfinderImages) -> None:
    assert (trace_labels(hard.images, HARD) == hard.labels).all()
    assert hard.labels.mean() == 0.5


@pytest.mark.parametrize("name", PRESETS)
def test_a_walk_over_the_ink_ends_at_the_other_marker_or_never_meets_it(name: str) -> None:
    made = generate_images(60, PRESETS[name], seed=1, label="walk", processes=1)
    walked = [follow(image, gap=2) for image in made.images]
    assert [label for label, _ in walked] == made.labels.tolist()
    assert all(ends for _, ends in walked)


def test_images_are_what_the_definition_draws(hard: PathfinderImages) -> None:
    for index in range(0, 40, 3):
        paddles = shares(np.logical_or.reduce([fine_ink(s, HARD) for s in snakes_of(hard, index)]), HARD)
        spots = shares(disk(hard.markers[index, 0], HARD) | disk(hard.markers[index, 1], HARD), HARD)
        expected = np.maximum(0.75 * np.minimum(1, 2 * paddles), spots)
        assert (hard.images[index] == np.rint(255 * expected)).all()


def test_golden_digest(hard: PathfinderImages) -> None:
    """Results on these images stay comparable only while the images do not change."""
    assert (
        hashlib.sha256(hard.images.tobytes()).hexdigest()
        == "20f9fea7cb92e1c4fc1e92d2677a913e9d16b6dcb4dfa65fb9a8dad57bf1729f"
    )


def test_levels(hard: PathfinderImages) -> None:
    # Quarters of a pixel: doubled, limited to 1 and multiplied by 0.75 for paddles; unchanged for markers.
    assert np.unique(hard.images).tolist() == [0, 64, 96, 128, 191, 255]
    assert hard.images.dtype == np.uint8
    frame = hard.images.copy()
    frame[:, 1:-1, 1:-1] = 0
    assert not frame.any()


@pytest.mark.slow(2)
def test_snakes_keep_more_than_a_gap_apart(hard: PathfinderImages) -> None:
    """Snakes are compared with a marker at every end of the long ones, so that the label does not matter."""
    for index in range(0, 1000, 10):
        inks = [fine_ink(points, HARD) for points in snakes_of(hard, index)]
        for k in range(2):
            for end in (0, -1):
                inks[k] |= disk(hard.long[index, k, end], HARD)
        pixels = [shares(ink, HARD) > 0 for ink in inks]
        near = [ndimage.binary_dilation(one, np.ones((5, 5), np.bool_)) for one in pixels]
        for k, one in enumerate(near):
            assert not any((one & other).any() for j, other in enumerate(pixels) if j != k)


def test_geometry(hard: PathfinderImages) -> None:
    assert hard.long.shape == (1000, 2, 15, 2)
    assert hard.short.shape == (1000, 5, 5, 2)
    for points in (hard.long, hard.short):
        steps = np.diff(points.astype(float), axis=2)
        lengths = np.hypot(steps[..., 0], steps[..., 1]) / 2
        assert (abs(lengths - 3) <= 0.25).all()  # a paddle and a margin, within half a fine cell
        assert ((steps[:, :, 1:] * steps[:, :, :-1]).sum(-1) >= 0).all()  # no turn beyond a right angle
    seeds = hard.long[:, 0, 0].astype(float) - hard.long[:, 1, 0]
    assert (abs(np.hypot(*seeds.T) / 2 - 7) <= 0.25).all()
    assert len(np.unique(hard.images.reshape(1000, -1), axis=0)) == 1000


def test_markers_are_at_an_origin_and_a_far_end(hard: PathfinderImages) -> None:
    for index in range(1000):
        origin, end = hard.markers[index].tolist()
        long = hard.long[index].tolist()
        of_origin = [snake[0] for snake in long].index(origin)
        of_end = [snake[-1] for snake in long].index(end)
        assert (of_origin == of_end) == bool(hard.labels[index])
    seen = np.sort(find_markers(hard.images), axis=1)
    centres = np.sort(hard.markers // 2, axis=1)
    assert abs(seen - centres).max() <= 1


def test_turns_follow_their_law() -> None:
    """Without obstacles, turns have the mean cosine of a von Mises distribution truncated at right angles."""
    lonely = PathfinderParameters(window=128, contour_length=2, continuity=0.5, seed_distance=48)
    words = RandomStream(5, "lonely")
    _, long = grow_long(BlockedPixels.empty(cached_paddle_tables(lonely), 4000), words)
    snakes = long.reshape(-1, 3, 2)
    free = ((snakes[:, 0] > 20) & (snakes[:, 0] < 236)).all(1)  # far from the frame
    steps = np.diff(snakes[free].astype(float), axis=1)
    unit = steps / np.hypot(steps[..., 0], steps[..., 1])[..., None]
    cosines = (unit[:, 1] * unit[:, 0]).sum(-1)
    means = []
    vectors = [(r, c) for r in range(-7, 8) for c in range(-7, 8) if abs((r * r + c * c) ** 0.5 - 6) < 0.5]
    for r, c in vectors:
        turns = np.array([(r * y + c * x) / ((r * r + c * c) * (y * y + x * x)) ** 0.5 for y, x in vectors])
        turns = turns[turns > -1e-12]
        means.append((turns * np.exp(2 * turns)).sum() / np.exp(2 * turns).sum())
    assert len(vectors) == 40
    assert len(cosines) > 5000
    assert abs(cosines.mean() - np.mean(means)) < 4 * cosines.std() / len(cosines) ** 0.5


@pytest.mark.slow(3)
def test_processes_and_neighbours_change_nothing() -> None:
    count = 2 * BLOCK + 30
    one = generate_images(count, EASY, seed=3, label="train", processes=1)
    two = generate_images(count, EASY, seed=3, label="train", processes=2)
    for name in ("images", "labels", "long", "short", "markers", "tally"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    few = generate_images(7, EASY, seed=3, label="train")
    assert (few.images == one.images[:7]).all()
    wanted = np.array([1, 1, 1, 0, 1, 0, 0])
    given = generate_images(7, EASY, seed=3, label="train", labels=wanted)
    same = wanted == few.labels
    assert (given.labels == wanted).all()
    assert (given.images[same] == few.images[same]).all()
    assert (given.images[~same] != few.images[~same]).any((1, 2)).all()
    others = [generate_images(7, EASY, seed=4, label="train"), generate_images(7, EASY, seed=3, label="test")]
    assert all((other.images != few.images).any((1, 2)).all() for other in others)


@pytest.mark.parametrize("name", PRESETS)
def test_twins_have_their_markers_in_like_places(name: str) -> None:
    zero, one = (
        generate_images(BLOCK, PRESETS[name], seed=0, label="twins", labels=[label] * BLOCK).markers.astype(float) / 2
        for label in (0, 1)
    )
    distances = [np.hypot(*(m[:, 0] - m[:, 1]).T) for m in (zero, one)]
    assert abs(distances[0] - distances[1]).max() <= 32 / 64
    from_centre = [np.sort(np.hypot(*(m - 15.75).transpose(2, 0, 1)), axis=1) for m in (zero, one)]
    assert np.sqrt(((from_centre[0] - from_centre[1]) ** 2).mean(1)).max() <= 32 / 16


@settings(deadline=None, max_examples=40)
@given(
    length=st.floats(1, 4),
    margin=st.floats(0, 3),
    thickness=st.floats(0.5, 2),
    antialias=st.integers(2, 3),
    data=st.data(),
)
def test_paddles_that_follow_one_another_are_within_a_gap(
    length: float, margin: float, thickness: float, antialias: int, data: st.DataObject
) -> None:
    """The ink of a snake is connected for all parameters."""
    parameters = PathfinderParameters(
        window=128, paddle_length=length, margin=margin, thickness=thickness, antialias=antialias, seed_distance=32
    )
    tables = PaddleTables(parameters)
    first = data.draw(st.integers(0, len(tables.steps) - 1))
    second = data.draw(st.sampled_from(np.flatnonzero(tables.turns[first]).tolist()))
    place = data.draw(st.tuples(*[st.integers(0, antialias - 1)] * 2))
    one = (tables.paddles[first] + place) // antialias
    two = (tables.paddles[second] + tables.steps[first] + place) // antialias
    assert len(one)
    assert abs(one[:, None] - two).max(-1).min() <= parameters.gap


@pytest.mark.slow(3)
def test_path_x() -> None:
    made = generate_images(4, PATH_X, seed=0, label="long")
    assert made.images.shape == (4, 128, 128)
    assert [follow(image, gap=3)[0] for image in made.images] == [0, 1, 0, 1]


def test_the_tracer_sees_a_cut_and_a_bridge(hard: PathfinderImages) -> None:
    """A snake that is cut is no longer joined, and one that is bridged to another snake is joined to it."""
    joined = hard.images[1].copy()
    middle = hard.long[1, :, 7] // 2
    snake = int(np.argwhere((hard.long[1, :, 0] == hard.markers[1, 0]).all(1))[0, 0])
    row, column = middle[snake]
    joined[row - 3 : row + 4, column - 3 : column + 4] = 0
    assert trace_labels(joined[None], HARD).tolist() == [0]
    bridged = hard.images[0].copy()
    bridged[bridged == 0] = 1
    assert trace_labels(bridged[None], HARD).tolist() == [1]
    with pytest.raises(DataError, match="image 1 has 0 markers instead of two"):
        trace_labels(np.stack([hard.images[0], np.zeros((32, 32), np.uint8)]), HARD)


def test_no_images() -> None:
    made = generate_images(0, EASY, seed=0, label="none")
    assert made.images.shape == (0, 32, 32)
    assert made.labels.shape == (0,)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"window": 4}, "window must be between 8 and 256, not 4"),
        ({"paddle_contrast": 1.0}, "paddle_contrast must be between"),
        ({"margin": float("nan")}, "margin must be between"),
        ({"contour_length": 1}, "contour_length must be between"),
        ({"thickness": 0.25}, "paddles of 2 x 0.25 pixels are lost at 2 times the resolution"),
        ({"seed_distance": 4.0}, "come within a gap of each other"),
        ({"window": 10}, "two markers do not fit into a window of 10 pixels"),
    ],
)
def test_bad_parameters_are_refused_in_one_line(numbers: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        PathfinderParameters(**numbers)
    assert "\n" not in str(caught.value)


@pytest.mark.slow(2)
def test_no_room_is_said_in_one_line() -> None:
    with pytest.raises(UsageError, match="two snakes of 40 paddles found room in only"):
        generate_images(1, PathfinderParameters(window=24, contour_length=40), seed=0, label="crowded")
    with pytest.raises(UsageError, match="200 distractors of 4 paddles found room in none"):
        generate_images(1, PathfinderParameters(contour_length=6, distractors=200), seed=0, label="crowded")
    with pytest.raises(UsageError, match="the distance between markers reveals the label"):
        generate_images(1, PathfinderParameters(window=96, contour_length=3, seed_distance=48), seed=0, label="sparse")


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 1], [[0, 1, 1]]])
def test_bad_labels_are_refused(labels: list[int]) -> None:
    with pytest.raises(UsageError, match="labels must be 3 numbers, each 0 or 1"):
        generate_images(3, EASY, seed=0, label="test", labels=labels)
