"""RMS norms in place of layer norms (Zhang & Sennrich 2019, arXiv 1910.07467)."""

from torch import nn


def use_rms_norms(model: nn.Module) -> None:
    """Replace every layer norm of an untrained model by ``g x / sqrt(mean(x^2) + eps)``, with the same width and eps.

    g starts from 1. The mean is not subtracted and there is no bias. Norms without parameters, such as that of a
    separate position table, stay.
    """
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.LayerNorm):
                setattr(module, name, nn.RMSNorm(child.normalized_shape, eps=child.eps))
