"""Perturbation sequences: frames compared with scipy and geometry, flips and states with a plain loop."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from robustbench_wb import evaluate
from robustbench_wb.stressors.catalogue import STRESSORS, parse_stressor
from robustbench_wb.stressors.sequences.perturbation_sequence import PerturbationSequence
from robustbench_wb.stressors.sequences.warps import rotation, scaling, tilt, translation, warped
from tests.stressors.attacked_batch import attacked_batch, perturb
from tests.stressors.corruptions.pictures import tiles

NAMES = [entry.name for entry in STRESSORS if issubclass(STRESSORS.get(entry.name), PerturbationSequence)]
SEED = 3
CLEAN = {"gaussian-noise": 0, "zoom-blur": 0, "brightness": 15, "translate": 7, "rotate": 15, "tilt": 15, "scale": 15}
"""Number of the clean frame at 32 pixels; the motion blur has none."""


def sequence(name: str) -> PerturbationSequence:
    found = parse_stressor(name)
    assert isinstance(found, PerturbationSequence)
    return found


def frames(name: str, images: Tensor, ids: Tensor) -> list[Tensor]:
    found = sequence(name)
    shown = list(found.frames(images, ids, SEED))
    assert len(shown) == found.count(images.shape)
    return shown


class Touchy(nn.Module):
    """Class by the remainder of the brightness of some pixels, which changes often."""

    def forward(self, images: Tensor) -> Tensor:
        level = (images[..., 8:11, 8:11].mean((1, 2, 3)) * 60).long()
        return nn.functional.one_hot(level % 3, 3).float()


@pytest.mark.parametrize("name", NAMES)
def test_the_first_wrong_frame_and_all_flips_are_found(name: str) -> None:
    images, ids = tiles(32, 30), torch.arange(30)
    shown, model = frames(name, images, ids), Touchy()
    predictions = torch.stack([model(frame / 255).argmax(1) for frame in shown])
    labels = model(images / 255).argmax(1).clone()
    labels[::5] = (labels[::5] + 1) % 3  # wrong when clean
    batch = attacked_batch(model, inputs=images / 255, labels=labels, ids=ids, seed=SEED, batch_size=7)
    found = perturb(sequence(name), batch)
    wrong = predictions != labels
    flips = 0
    for sample in range(30):
        first = next((number for number in range(len(shown)) if wrong[number, sample]), len(shown) - 1)
        assert torch.equal((found.inputs[sample] * 255).round().to(torch.uint8), shown[first][sample])
        steps = range(1, len(shown))
        before = [0 if name.startswith("gaussian-noise") else number - 1 for number in steps]
        flips += sum(int(predictions[a, sample] != predictions[b, sample]) for a, b in zip(steps, before, strict=True))
    assert found.broken is not None
    assert found.broken.tolist() == wrong.any(0).tolist()
    assert 0 < flips < 30 * (len(shown) - 1)
    assert found.evidence == {"flips": flips, "steps": 30 * (len(shown) - 1)}
    assert set(found.forwards.tolist()) == {len(shown)}


def test_a_sample_is_correct_if_every_frame_is() -> None:
    images, ids, model = tiles(32, 30), torch.arange(30), Touchy()
    labels = model(images / 255).argmax(1).clone()
    labels[::5] = (labels[::5] + 1) % 3  # wrong when clean
    right = torch.stack([model(frame / 255).argmax(1) == labels for frame in frames("rotate-sequence", images, ids)])
    clean, rotated = evaluate(model, images / 255, labels, stressors=["rotate-sequence"], seed=SEED).rows
    assert clean.accuracy == pytest.approx(24 / 30)
    assert rotated.accuracy == pytest.approx(float(right.all(0).double().mean()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_frame_depends_on_its_own_sample_only(name: str, channels: int) -> None:
    images, ids = tiles(64, 4)[:, :channels, :20, :33].contiguous(), torch.tensor([5, 1, 9, 2])
    whole = torch.stack(frames(name, images, ids))
    alone = torch.stack(frames(name, images[2:3], ids[2:3]))
    assert torch.equal(whole[:, 2:3], alone)
    assert whole.dtype == torch.uint8
    assert len({frame.numpy().tobytes() for frame in whole}) == len(whole)


@pytest.mark.parametrize("name", CLEAN)
def test_the_clean_frame_is_the_image(name: str) -> None:
    images, ids = tiles(32, 3), torch.arange(3)
    shown = frames(f"{name}-sequence", images, ids)
    assert [number for number, frame in enumerate(shown) if torch.equal(frame, images)] == [CLEAN[name]]


@pytest.mark.parametrize("name", [name for name in NAMES if "noise" not in name])
def test_neighbouring_frames_are_alike(name: str) -> None:
    shown = torch.stack(frames(name, tiles(32, 10), torch.arange(10))).double()
    steps = (shown[1:] - shown[:-1]).square().mean((1, 2, 3, 4))
    assert float(steps.max()) < float((shown[0] - shown[-1]).square().mean())


@pytest.mark.parametrize("matrix", [rotation(-13), scaling(0.72), scaling(1.2), translation(5)])
def test_affine_maps_are_those_of_scipy(matrix: np.ndarray) -> None:
    images = tiles(64, 2)[:, :, :40, :53].contiguous()
    found = warped(images, matrix).numpy()
    back = np.linalg.inv(matrix)[[1, 0]][:, [1, 0, 2]]  # rows before columns
    middle = np.array([19.5, 26.0])
    shift = middle - back[:, :2] @ middle + back[:, 2]
    for image, result in zip(images.double().numpy(), found, strict=True):
        for channel, plane in zip(image, result, strict=True):
            padded = np.pad(channel, 1)  # between the outermost pixels and the outside, scipy does not interpolate
            expected = ndimage.affine_transform(padded, back[:, :2], shift + 1 - back[:, :2].sum(1), order=1)
            assert np.abs(expected[1:-1, 1:-1] - plane).max() < 1e-3


def test_a_tilted_point_is_where_geometry_puts_it() -> None:
    """Turn the plane about its vertical axis, then its horizontal one, move it away, and project it."""
    angle, distance = math.radians(12), 50.0
    for x, y in ((10.0, -7.0), (-20.0, 3.0)):
        after_y = x * math.cos(angle), y, x * math.sin(angle)
        height = after_y[1] * math.cos(angle) - after_y[2] * math.sin(angle)
        depth = after_y[1] * math.sin(angle) + after_y[2] * math.cos(angle) + distance
        u, v, w = tilt(12, distance) @ [x, y, 1]
        assert (u / w, v / w) == pytest.approx((distance * after_y[0] / depth, distance * height / depth))


def test_the_blur_turns_to_horizontal() -> None:
    """A vertical edge stays sharp under vertical motion, and is blurred by the last frame."""
    images = torch.zeros((1, 1, 32, 32), dtype=torch.uint8)
    images[..., 16:] = 200
    shown = frames("motion-blur-sequence", images, torch.arange(1))
    sharp = [int(frame[0, 0, 16].int().diff().abs().max()) for frame in shown]
    assert sharp[10] == 200  # ten steps of nine degrees before the last: vertical
    assert sharp[-1] < 100
