"""CRATE's coding rates and sparsity against numbers from running the reference's own measuring code in float64."""

import numpy as np
import pytest
import torch

from robustbench_wb.layers.measure_layers import measure_layers
from robustbench_wb.layers.table import MEASURES
from robustbench_wb.models.build import build
from robustbench_wb.models.references.load import load_reference, to_reference
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.models.variant import Size
from robustbench_wb.models.zoo.crate import CRATE
from tests.models.golden_fill import fill, filled_state


def test_crate_gives_the_reference_s_rates_and_sparsity() -> None:
    recipe = CRATE.model_copy(update={"sizes": {"mini": Size(width=48, depth=3, heads=4, dim_head=12)}})
    shape = ImageShape(channels=3, height=32, width=32, classes=10, patch=8)
    model = build(recipe, "mini", shape, mean=[0.0] * 3, std=[1.0] * 3, seed=0).double()
    names = {name: tuple(tensor.shape) for name, tensor in to_reference(model, "crate").items()}
    load_reference(model, "crate", filled_state(names))
    images, ids = 1.5 * fill(9999, (2, 3, 32, 32)), torch.arange(2)
    table = measure_layers(model, images, ids, seed=0, batch=2)
    assert table.mean("coding_rate").tolist() == pytest.approx([95.891591, 96.741528, 92.405264], abs=1e-6)
    assert table.std("coding_rate").tolist() == pytest.approx([0.650641, 0.171850, 0.390096], abs=1e-6)
    assert table.mean("sparsity").tolist() == pytest.approx([0.500613, 0.469975, 0.456495], abs=1e-6)
    single = measure_layers(model.float(), images.float(), ids, seed=0, batch=2)
    for name in MEASURES:
        np.testing.assert_allclose(single.values[name], table.values[name], rtol=1e-3, atol=1e-4, err_msg=name)
