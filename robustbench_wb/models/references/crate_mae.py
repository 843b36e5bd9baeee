"""Checkpoints of the reference implementation of CRATE-MAE: the autoencoder, or its encoder as a classifier."""

from robustbench_wb.models.references.mapping import KERNEL, LEADING, CheckpointFamily, WeightRule, pairs, rules


def _attention(ours: str, theirs: str) -> tuple[WeightRule, ...]:
    return (
        *pairs({"norm": "norm", "attention.out": "fn.to_out.0"}, ours, theirs),
        *rules({"attention.subspaces.weight": "fn.qkv.weight"}, ours, theirs),
    )


_ENCODER = (
    # The implementation adds the decoder's table to the encoder input; "pos_embed" is saved but not used.
    WeightRule("embedding.positions.table", ("decoder_pos_embed",), LEADING),
    *rules({"embedding.cls": "cls_token", "embedding.project.bias": "patch_embed.proj.bias"}),
    WeightRule("embedding.project.weight", ("patch_embed.proj.weight",), KERNEL),
    *_attention("backbone.blocks.{i}.", "blocks.{i}.layers.0.0."),
    *pairs({"feedforward.norm": "norm"}, "backbone.blocks.{i}.", "blocks.{i}.layers.0.1."),
    *rules({"feedforward.dictionary": "fn.weight"}, "backbone.blocks.{i}.", "blocks.{i}.layers.0.1."),
)
_NEVER_USED = ("pos_embed", r"decoder_embed\.(weight|bias)")

AUTOENCODER = CheckpointFamily(
    variant="crate-mae",
    modality="autoencoder",
    rules=(
        *_ENCODER,
        *pairs({"norm": "norm", "decoder_norm": "decoder_norm", "predict": "decoder_pred"}),
        *rules({"mask_token": "mask_token"}),
        *pairs({"code_norm": "norm"}, "decoder.{i}.", "decoder_blocks.{i}.layers.0.0."),
        *rules({"dictionary": "fn.weight"}, "decoder.{i}.", "decoder_blocks.{i}.layers.0.0."),
        *_attention("decoder.{i}.", "decoder_blocks.{i}.layers.0.1."),
    ),
    unused=_NEVER_USED,
    required_constants=("lam",),
)

ENCODER = CheckpointFamily(
    variant="crate-mae",
    modality="image",
    rules=(*_ENCODER, *pairs({"head.norm": "norm"}), *pairs({"head.linear": "head"})),
    unused=(*_NEVER_USED, "mask_token", r"decoder_(blocks|norm|pred)\..*"),
    optional=("head.linear.weight", "head.linear.bias"),
    required_constants=("lam",),
)
