"""Checkpoints of BERT in the transformers library, with or without classifier, and of the port of CRATE-BERT to it."""

from robustbench_wb.models.references.mapping import FIRST_SEGMENT, STACKED, CheckpointFamily, WeightRule, pairs, rules

_OURS, _THEIRS = "backbone.blocks.{i}.", "encoder.layer.{i}."
_OUTSIDE = (
    *rules({"embedding.words.weight": "embeddings.word_embeddings.weight"}),
    WeightRule(
        "embedding.positions.table",
        ("embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight"),
        FIRST_SEGMENT,
    ),
    *pairs({"embedding.norm": "embeddings.LayerNorm", "head.pooler": "pooler.dense", "head.linear": "classifier"}),
)
_HEAD = ("head.linear.weight", "head.linear.bias")
_UNUSED = (r"embeddings\.position_ids", r"embeddings\.token_type_ids", r"(cls|lm_head)\..*")  # heads of pretraining

BERT = CheckpointFamily(
    variant="bert",
    modality="text",
    rules=(
        *_OUTSIDE,
        *(
            WeightRule(
                f"{_OURS}attention.qkv.{part}",
                tuple(f"{_THEIRS}attention.self.{name}.{part}" for name in ("query", "key", "value")),
                STACKED,
            )
            for part in ("weight", "bias")
        ),
        *pairs(
            {
                "attention.out": "attention.output.dense",
                "norm": "attention.output.LayerNorm",
                "feedforward.hidden": "intermediate.dense",
                "feedforward.out": "output.dense",
                "feedforward.norm": "output.LayerNorm",
            },
            _OURS,
            _THEIRS,
        ),
    ),
    prefixes=("module.", "_orig_mod.", "bert."),
    renames={".gamma": ".weight", ".beta": ".bias"},
    unused=_UNUSED,
    optional=_HEAD,
)

CRATE_BERT = CheckpointFamily(
    variant="crate-bert",
    modality="text",
    rules=(
        *_OUTSIDE,
        *pairs({"norm": "attention.self.prenorm", "feedforward.norm": "output.prenorm"}, _OURS, _THEIRS),
        *rules(
            {
                "attention.subspaces.weight": "attention.self.qkv.weight",
                "attention.out.weight": "attention.output.dense.weight",
                "feedforward.dictionary": "output.weight",
            },
            _OURS,
            _THEIRS,
        ),
    ),
    prefixes=("module.", "_orig_mod.", "crate."),
    unused=_UNUSED,
    optional=_HEAD,
    note="row 0 is used as the first position and word 0 as padding; renumber a RoBERTa vocabulary (padding 1, first "
    "position 2) before the import",
)
