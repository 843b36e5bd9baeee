"""Checkpoints of the torch implementation of CRATE-alpha (image classifier)."""

from robustbench_wb.models.references.crate import LAYER, OUTSIDE
from robustbench_wb.models.references.mapping import KERNEL, CheckpointFamily, WeightRule, rules

CRATE_ALPHA = CheckpointFamily(
    variant="crate-alpha",
    modality="image",
    rules=(
        *OUTSIDE,
        WeightRule("embedding.project.weight", ("conv1.weight",), KERNEL),
        *rules({"embedding.project.bias": "conv1.bias"}),
        *LAYER,
        *rules(
            {"feedforward.dictionary": "1.fn.D", "feedforward.decoder": "1.fn.D1"},
            "backbone.blocks.{i}.",
            "transformer.layers.{i}.",
        ),
    ),
)
