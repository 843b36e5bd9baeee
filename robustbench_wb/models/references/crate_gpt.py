"""Checkpoints of CRATE-GPT, a causal language model built on nanoGPT."""

from robustbench_wb.models.references.mapping import CheckpointFamily, pairs, rules

_OURS, _THEIRS = "backbone.blocks.{i}.", "transformer.h.{i}."

CRATE_GPT = CheckpointFamily(
    variant="crate",
    modality="causal",
    rules=(
        *rules({"embedding.words.weight": "transformer.wte.weight"}),
        *rules({"embedding.positions.table": "transformer.wpe.weight"}),
        *pairs({"norm": "prenorm_1", "attention.out": "attn.c_proj", "feedforward.norm": "prenorm_2"}, _OURS, _THEIRS),
        *rules(
            {"attention.subspaces.weight": "attn.c_attn.weight", "feedforward.dictionary": "ista.weight"},
            _OURS,
            _THEIRS,
        ),
    ),
    unused=(r"transformer\.h\.\d+\.attn\.bias",),  # the causal mask
    copies={"lm_head.weight": "transformer.wte.weight"},
    note="word 0 is used as padding",
)
