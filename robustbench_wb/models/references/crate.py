"""Checkpoints of the reference implementation of CRATE (image classifier)."""

from robustbench_wb.models.references.mapping import LEADING, CheckpointFamily, WeightRule, pairs, rules

LAYER = (
    *pairs({"norm": "0.norm", "feedforward.norm": "1.norm"}, "backbone.blocks.{i}.", "transformer.layers.{i}."),
    *rules({"attention.subspaces.weight": "0.fn.qkv.weight", "attention.out.weight": "0.fn.to_out.0.weight"},
           "backbone.blocks.{i}.", "transformer.layers.{i}."),
)  # fmt: skip
"""Rules for each layer that CRATE and CRATE-alpha share."""

OUTSIDE = (
    WeightRule("embedding.positions.table", ("pos_embedding",), LEADING),
    *rules({"embedding.cls": "cls_token"}),
    *pairs({"head.norm": "mlp_head.0", "head.linear": "mlp_head.1"}),
)
"""Rules outside the layers that CRATE and CRATE-alpha share."""

CRATE = CheckpointFamily(
    variant="crate",
    modality="image",
    rules=(
        *OUTSIDE,
        *pairs({f"embedding.project.{i}": f"to_patch_embedding.{i + 1}" for i in range(3)}),
        *LAYER,
        *rules(
            {"attention.out.bias": "0.fn.to_out.0.bias", "feedforward.dictionary": "1.fn.weight"},
            "backbone.blocks.{i}.",
            "transformer.layers.{i}.",
        ),
    ),
)
