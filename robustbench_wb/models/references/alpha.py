"""Checkpoints of the torch implementation of CRATE-alpha (image classifier)."""

from robustbench_wb.models.references.crate import LAYER, OUTSIDE
from robustbench_wb.models.references.mapping import KERNEL, Family, Rule, rules

CRATE_ALPHA = Family(
    variant="crate-alpha",
    modality="image",
    rules=(
        *OUTSIDE,
        Rule("embedding.project.weight", ("conv1.weight",), KERNEL),
        *rules({"embedding.project.bias": "conv1.bias"}),
        *LAYER,
        *rules(
            {"feedforward.dictionary": "1.fn.D", "feedforward.decoder": "1.fn.D1"},
            "backbone.blocks.{i}.",
            "transformer.layers.{i}.",
        ),
    ),
)
