"""Arguments of the Python API that have a wrong type: one line that names the parameter, before any work."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import robustbench_wb as rb

MODEL = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
IMAGES, LABELS = torch.rand(4, 1, 4, 4), [0, 1, 0, 1]
SHAPE = rb.ImageShape(channels=1, height=4, width=4, classes=2, patch=2)
EVALUATE: Callable[..., Any] = rb.evaluate
BUILD: Callable[..., Any] = rb.build
RUN: Callable[..., Any] = rb.run
VERIFY: Callable[..., Any] = rb.verify
PGD: Callable[..., Any] = rb.PgdLinf
MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "ragged labels": (lambda: EVALUATE(MODEL, IMAGES, [[0], [1, 2], 0, 1]), "labels"),
    "ragged images": (lambda: EVALUATE(MODEL, [[1], [2, 3]], LABELS), "inputs"),
    "seed": (lambda: EVALUATE(MODEL, IMAGES, LABELS, seed="x"), "seed"),
    "half a batch": (lambda: EVALUATE(MODEL, IMAGES, LABELS, batch_size=1.5), "batch_size"),
    "stressors": (lambda: EVALUATE(MODEL, IMAGES, LABELS, stressors=5), "stressors"),
    "mean": (lambda: EVALUATE(MODEL, IMAGES, LABELS, mean="x", std=1), "mean"),
    "lazy": (lambda: EVALUATE(nn.Sequential(nn.Flatten(), nn.LazyLinear(2)), IMAGES, LABELS), "lazy"),
    "meta": (lambda: EVALUATE(nn.Linear(4, 2, device="meta"), IMAGES, LABELS), "meta device"),
    "transform": (lambda: EVALUATE(MODEL, IMAGES, LABELS, transform=3), "transform"),
    "length": (lambda: EVALUATE(MODEL, ["a"], [0], tokenizer=lambda text: [1], length=1.5), "length"),
    "no results": (lambda: RUN(results=None), "results"),
    "positional": (lambda: RUN("clean"), "request"),
    "build seed": (lambda: BUILD("vit", shape=SHAPE, seed="x"), "seed"),
    "build size": (lambda: BUILD("vit", shape=SHAPE, size=3), "size"),
    "build variant": (lambda: BUILD(None, shape=SHAPE), "variant"),
    "build mean": (lambda: BUILD("vit", shape=SHAPE, mean=[1, None]), "mean"),
    "table": (lambda: VERIFY(None), "table"),
    "rerun": (lambda: VERIFY(rerun="x"), "rerun"),
    "eps below zero": (lambda: PGD(eps="-1/255"), "eps"),
    "no steps": (lambda: PGD(eps="8/255", steps=0), "steps"),
    "float eps": (lambda: PGD(eps=8 / 255), "eps"),
    "no eps": (PGD, "eps"),
    "positional eps": (lambda: PGD("8/255"), "eps=..."),
    "unknown": (lambda: PGD(eps="8/255", stepps=3), "stepps"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_type_is_one_line_that_names_the_parameter(mistake: str) -> None:
    call, name = MISTAKES[mistake]
    with pytest.raises(rb.UsageError) as raised:
        call()
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_image_of_one_pixel_is_too_small_for_a_zoom() -> None:
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), torch.rand(4, 3, 1, 1)
    row = rb.evaluate(model, images, LABELS, stressors="zoom-blur;severity=3").rows[1]
    assert row.error == "zoom-blur needs images of at least 2 x 2 pixels, these have 1 x 1"


class Careless(rb.Stressor):
    """Writes to everything that it is given."""

    name = "careless"

    def apply(self, batch: Any, access: Any) -> Any:
        """Return the images, and spoil what was given."""
        from robustbench_wb.stressors.sample_batch import PerturbedBatch

        none = torch.zeros(len(batch.ids), dtype=torch.int32).numpy()
        made = PerturbedBatch(inputs=batch.inputs.clone(), forwards=none, backwards=none.copy())
        batch.inputs.zero_()
        batch.labels.fill_(1)
        access.model.train()
        with torch.no_grad():
            for parameter in access.model.parameters():
                parameter.zero_()
        print("spoilt")  # noqa: T201
        torch.set_default_dtype(torch.float64)
        return made


def test_a_stressor_cannot_spoil_the_samples_or_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    linear, images = nn.Linear(16, 2), torch.rand(40, 1, 4, 4)
    labels = linear(images.flatten(1)).argmax(1)
    model, weights = nn.Sequential(nn.Flatten(), linear, nn.Dropout(0.9)), linear.weight.clone()
    rows = rb.evaluate(model, images, labels, stressors=[Careless(), "gaussian-noise;severity=1"]).rows
    assert [row.accuracy for row in rows[:2]] == [1.0, 1.0]
    assert torch.equal(linear.weight, weights)
    assert torch.get_default_dtype() == torch.float32
    assert "spoilt" not in capsys.readouterr().out
