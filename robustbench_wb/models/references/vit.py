"""Checkpoints of Vision Transformers in the timm library, including DeiT."""

from robustbench_wb.models.references.mapping import KERNEL, LEADING, CheckpointFamily, WeightRule, pairs, rules

VIT = CheckpointFamily(
    variant="vit",
    modality="image",
    rules=(
        WeightRule("embedding.positions.table", ("pos_embed",), LEADING),
        *rules({"embedding.cls": "cls_token", "embedding.project.bias": "patch_embed.proj.bias"}),
        WeightRule("embedding.project.weight", ("patch_embed.proj.weight",), KERNEL),
        *pairs({"head.norm": "norm", "head.linear": "head"}),
        *pairs(
            {
                "norm": "norm1",
                "attention.qkv": "attn.qkv",
                "attention.out": "attn.proj",
                "feedforward.norm": "norm2",
                "feedforward.hidden": "mlp.fc1",
                "feedforward.out": "mlp.fc2",
            },
            "backbone.blocks.{i}.",
            "blocks.{i}.",
        ),
    ),
    optional=("head.linear.weight", "head.linear.bias"),
)
