"""Attention variants proposed for robustness, for comparison with new ones."""

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
    notes="In all layers, as published for vision; the language model uses it from layer 14 of 16 on.",
)

NEUTRENO = Variant(
    name="neutreno",
    summary="NeuTRENO: pulls values towards those of the first layer",
    attention="neutreno",
    attention_options={"lam": 0.6},
    sizes=VIT_SIZES,
    status="confirmed",
    source="Nguyen, Nguyen, Baraniuk, NeurIPS 2023, and the behaviour of its public implementation",
    notes="lam is 0.6 in the vision models and 0.4 in the language model.",
)

TWICING_NEUTRENO = Variant(
    name="twicing-neutreno",
    summary="Twicing attention with the pull of NeuTRENO",
    attention="twicing-neutreno",
    attention_options={"lam": 0.4},
    sizes=VIT_SIZES,
    status="confirmed",
    source="The compiled file in the public implementation of Abdullaev & Nguyen, ICLR 2025",
    notes="In all layers. It is unknown whether the published weights belong to this file or to twicing alone.",
)

ELLIPTICAL = Variant(
    name="elliptical",
    summary="Elliptical attention: features that change between layers have more weight",
    attention="elliptical",
    sizes=VIT_SIZES,
    status="confirmed",
    source="Nielsen, Abdullaev, Teo, Nguyen, NeurIPS 2024, and the behaviour of its public implementation",
    notes="Causal attention uses prefix means and 1 / sqrt(p); the published language model leaks later tokens.",
)

RPC = Variant(
    name="rpc",
    summary="RPC attention: removes outliers of the keys",
    attention="rpc",
    attention_options={"lam": 4.0, "iterations": 4, "layers": 1},
    sizes=VIT_SIZES,
    status="confirmed",
    source="Teo & Nguyen, NeurIPS 2024, and the behaviour of its public implementation",
    notes="4 steps in the first layer and 1 elsewhere; also published: 5 or 6 in the first layer, or 2 in all.",
)

ROBUST_KDE_HUBER = Variant(
    name="robust-kde-huber",
    summary="Attention as a robust density estimate with Huber loss",
    attention="robust-kde",
    attention_options={"psi": "huber", "a": 0.2},
    sizes=VIT_SIZES,
    status="confirmed",
    source=_KDE,
    notes="The distance to the mean has its textbook sign; the plus signs of the public code invert it.",
)

ROBUST_KDE_HAMPEL = ROBUST_KDE_HUBER.model_copy(
    update={
        "name": "robust-kde-hampel",
        "summary": "Attention as a robust density estimate with Hampel loss",
        "attention_options": {"psi": "hampel", "a": 0.2},
    }
)

MEDIAN_OF_MEANS = Variant(
    name="median-of-means",
    summary="Attention over the key subset with median likelihood",
    attention="median-of-means",
    attention_options={"subsets": 5, "share": 0.95},
    sizes=VIT_SIZES,
    status="confirmed",
    source=_KDE,
    notes="Subsets are fixed, not drawn in each pass, and the median is per sample and head, not over the batch.",
)
