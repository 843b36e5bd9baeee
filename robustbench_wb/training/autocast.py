"""Forward pass of a model during training."""

import torch
from torch import Tensor, nn


def autocast_forward(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return logits in float32; on CUDA the forward pass runs in bfloat16 autocast, elsewhere in float32."""
    with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=inputs.device.type == "cuda"):
        logits: Tensor = model(inputs)
    return logits.float()
