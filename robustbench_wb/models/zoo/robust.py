"""Attentions of one research line that were proposed for robustness: the relatives that new ones are compared with."""

from robustbench_wb.models.variant import Variant
from robustbench_wb.models.zoo.baselines import VIT_SIZES

_KDE = "Han, Ren, Nguyen, Nguyen, Ghosh, Ho, NeurIPS 2023, and the behaviour of its public implementation"

TWICING = Variant(
    name="twicing",
    summary="Twicing attention: A V + A (V - A V)",
    attention="twicing",
    attention_options={"first_layer": 0},
    sizes=VIT_SIZES,
    status="confirmed",
    source="Abdullaev & Nguyen, ICLR 2025, and the behaviour of its public implementation",
    notes="All layers, as published for vision; the language model twices from layer 14 of 16 on.",
)

NEUTRENO = Variant(
    name="neutreno",
    summary="NeuTRENO: pulls values towards those of the first layer",
    attention="neutreno",
    attention_options={"lam": 0.6},
    sizes=VIT_SIZES,
    status="confirmed",
    source="Nguyen, Nguyen, Baraniuk, NeurIPS 2023, and the behaviour of its public implementation",
    notes="lam 0.6 is the vision models'; the language model has 0.4.",
)

ELLIPTICAL = Variant(
    name="elliptical",
    summary="Elliptical attention: features that change count more",
    attention="elliptical",
    sizes=VIT_SIZES,
    status="confirmed",
    source="Nielsen, Abdullaev, Teo, Nguyen, NeurIPS 2024, and the behaviour of its public implementation",
    notes="Causal: a prefix mean, where the published language model leaks the future, and with 1 / sqrt(p).",
)

RPC = Variant(
    name="rpc",
    summary="RPC attention: outliers of the keys are split off",
    attention="rpc",
    attention_options={"lam": 4.0, "iterations": 4, "layers": 1},
    sizes=VIT_SIZES,
    status="confirmed",
    source="Teo & Nguyen, NeurIPS 2024, and the behaviour of its public implementation",
    notes="4 steps in the first layer, one elsewhere; published too: 5 or 6 there, or 2 in all layers.",
)

ROBUST_KDE_HUBER = Variant(
    name="robust-kde-huber",
    summary="Attention as a robust density estimate, Huber's loss",
    attention="robust-kde",
    attention_options={"psi": "huber", "a": 0.2},
    sizes=VIT_SIZES,
    status="confirmed",
    source=_KDE,
    notes="The distance to the mean has its textbook sign; the code's plus signs turn it round.",
)

ROBUST_KDE_HAMPEL = ROBUST_KDE_HUBER.model_copy(
    update={
        "name": "robust-kde-hampel",
        "summary": "Attention as a robust density estimate, Hampel's loss",
        "attention_options": {"psi": "hampel", "a": 0.2},
    }
)

MEDIAN_OF_MEANS = Variant(
    name="median-of-means",
    summary="Attention over the key subset of median likelihood",
    attention="median-of-means",
    attention_options={"subsets": 5, "share": 0.95},
    sizes=VIT_SIZES,
    status="confirmed",
    source=_KDE,
    notes="Subsets are counted, not drawn, and the median is per sample and head, not over the batch.",
)
