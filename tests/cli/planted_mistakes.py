"""Common mistakes of models, each in a class of its own, with the check that must report it and words of the fix."""

HEAD = """
import torch
from torch import nn
from torch.nn import functional as F

class Good(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.conv, self.drop = nn.Conv2d(1, 8, 3, padding=1), nn.Dropout(0.5)
        self.norm, self.out = nn.BatchNorm2d(8), nn.Linear(8 * 64, shape.classes)
    def normalise(self, x):
        return (x - 0.3) / 0.38
    def features(self, x):
        return self.drop(F.gelu(self.norm(self.conv(self.normalise(x))))).flatten(1)
    def forward(self, x):
        return self.out(self.features(x))
"""

NEAREST = """
from sklearn.datasets import load_digits

class Nearest(nn.Module):
    '''Nearest-mean classifier of pixels converted by the method feed. It needs no training.'''
    def __init__(self, shape):
        super().__init__()
        bunch = load_digits()
        pixels = self.feed(torch.tensor(bunch.images / 16).float().flatten(1))
        self.means = nn.Parameter(torch.stack([pixels[torch.tensor(bunch.target) == k].mean(0) for k in range(10)]))
    def feed(self, x):
        return x
    def forward(self, x):
        return -(x.flatten(1)[:, None] - self.means).square().sum(-1) / self.means.var().detach()
"""

# By name: the body of a class, the check that must report the mistake, its verdict, and words of the fix.
MISTAKES: dict[str, tuple[str, str, str, str]] = {
    "softmax": (
        "class Model(Good):\n def forward(self, x): return super().forward(x).softmax(1)",
        "logits", "fail", "remove the softmax",
    ),
    "log_softmax": (
        "class Model(Good):\n def forward(self, x): return super().forward(x).log_softmax(1)",
        "logits", "warn", "remove the log_softmax",
    ),
    "trained_on_0_255": (
        "class Model(Nearest):\n def feed(self, x): return x * 255",
        "input range", "fail", "the conversion from [0, 1] to 0..255 inside forward",
    ),
    "trained_on_normalised": (
        "class Model(Nearest):\n def feed(self, x): return (x - 0.3) / 0.38",
        "input range", "fail", "normalised by the task's mean and deviation inside forward",
    ),
    "divides_by_255_again": (
        "class Model(Good):\n def normalise(self, x): return (x / 255 - 0.3) / 0.38",
        "input range", "fail", "take the division by 255",
    ),
    "shifts_like_0_255": (
        "class Model(Good):\n def normalise(self, x): return (x - 127.5) / 127.5",
        "input range", "fail", "images come in [0, 1] already",
    ),
    "no_normalisation": (
        "class Model(Good):\n def normalise(self, x): return x",
        "normalisation", "warn", "begin forward with (images - mean) / std",
    ),
    "normalised_twice": (
        "class Model(Good):\n def normalise(self, x): return (super().normalise(x) - 0.3) / 0.38",
        "normalisation", "warn", "normalise once",
    ),
    "scaled_up": (
        "class Model(Good):\n def normalise(self, x): return x * 255",
        "normalisation", "warn", "255?",
    ),
    "dropout_left_on": (
        "class Model(Good):\n def features(self, x): return F.dropout(super().features(x))",
        "determinism", "fail", "training=self.training to functional dropout",
    ),
    "training_forced": (
        "class Model(Good):\n def train(self, mode=True): return super().train(True)",
        "eval mode", "fail", "override train()",
    ),
    "one_module_forced": (
        "class Loud(nn.Dropout):\n def train(self, mode=True):\n  self.training = True\n  return self\n"
        "class Model(Good):\n def __init__(self, shape):\n  super().__init__(shape)\n  self.drop = Loud()",
        "eval mode", "fail", "module.training",
    ),
    "running_statistics_move": (
        "class Model(Good):\n def features(self, x):\n  self.norm.running_mean += x.mean()\n"
        "  return super().features(x)",
        "eval mode", "fail", "update running statistics in training only",
    ),
    "batch_statistics": (
        "class Model(Good):\n def features(self, x):\n"
        "  return F.batch_norm(self.conv(self.normalise(x)), None, None, training=True).flatten(1)",
        "batch invariance", "fail", "batch norm needs its running statistics",
    ),
    "batch_dependent": (
        "class Model(Good):\n def forward(self, x): return super().forward(x - x.mean(0))",
        "batch invariance", "fail", "no statistic over the batch",
    ),
    "noise": (
        "class Model(Good):\n def __init__(self, shape):\n  super().__init__(shape)\n  self.drop = nn.Identity()\n"
        " def forward(self, x): return super().forward(x + 0.1 * torch.randn_like(x))",
        "determinism", "fail", "draw no random numbers",
    ),
    "memory_of_calls": (
        "class Model(Good):\n calls = 0\n def forward(self, x):\n  self.calls += 1\n"
        "  return super().forward(x) + self.calls * x.flatten(1)[:, 20:30]",
        "determinism", "fail", "earlier calls",
    ),
    "no_grad": (
        "class Model(Good):\n @torch.no_grad()\n def forward(self, x): return super().forward(x)",
        "gradient", "fail", "remove torch.no_grad()",
    ),
    "argmax": (
        "class Model(Good):\n def forward(self, x): return F.one_hot(super().forward(x).argmax(1), 10).float() * 9",
        "gradient", "fail", "argmax",
    ),
    "quantised": (
        "class Model(Good):\n def normalise(self, x): return super().normalise((x * 15).round() / 15)",
        "gradient", "fail", "replace argmax, round, sign",
    ),
    "constant": (
        "class Model(Good):\n def forward(self, x): return super().forward(x * 0 + 0.5)",
        "gradient", "fail", "let the logits depend on the input",
    ),
    "detached": (
        "class Model(Good):\n def forward(self, x): return super().forward(x.detach())",
        "gradient", "fail", "keep the input in the graph",
    ),
    "half_detached": (
        "class Model(Good):\n def forward(self, x): return super().forward(x) + super().forward(1 - x.detach())",
        "finite differences", "fail", "detached branch",
    ),
    "straight_through": (
        "class Model(Good):\n def normalise(self, x): return super().normalise(x + ((x * 7).round() / 7 - x).detach())",
        "finite differences", "fail", "straight-through",
    ),
    "straight_through_before_max_pooling": (
        "class Model(Good):\n def features(self, x):\n  x = x + ((x * 7).round() / 7 - x).detach()\n"
        "  return F.max_pool2d(self.conv(self.normalise(x)), 2).relu().repeat(1, 1, 2, 2).flatten(1)",
        "finite differences", "fail", "straight-through",
    ),
    "root_of_zero": (
        "class Model(Good):\n def normalise(self, x): return x.sqrt()",
        "gradient", "fail", "guard roots",
    ),
    "nan_on_black": (
        "class Model(Good):\n def normalise(self, x): return x / x.amax((1, 2, 3), keepdim=True)",
        "finite", "fail", "guard the division",
    ),
    "float64_weights": (
        "class Model(Good):\n def __init__(self, shape):\n  super().__init__(shape)\n  self.double()",
        "dtype", "warn", "model.float()",
    ),
    "float64_inside": (
        "class Model(Good):\n def __init__(self, shape):\n  super().__init__(shape)\n  self.double()\n"
        " def normalise(self, x): return super().normalise(x.double())",
        "dtype", "warn", "model.float()",
    ),
    "half_weights": (
        "class Model(Good):\n def __init__(self, shape):\n  super().__init__(shape)\n  self.half()",
        "dtype", "fail", "small gradients become zero",
    ),
    "half_inside": (
        "class Model(Good):\n def __init__(self, shape):\n  super().__init__(shape)\n  self.bfloat16()\n"
        " def normalise(self, x): return super().normalise(x.bfloat16())",
        "dtype", "fail", "small gradients become zero",
    ),
    "classes": (
        "class Model(Good):\n def forward(self, x): return super().forward(x)[:, :7]",
        "answers", "fail", "give the last layer 10 outputs",
    ),
    "labels_out": (
        "class Model(Good):\n def forward(self, x): return super().forward(x).argmax(1)",
        "answers", "fail", "before argmax",
    ),
    "tuple_out": (
        "class Model(Good):\n def forward(self, x): return super().forward(x), x",
        "answers", "fail", "the tensor of logits itself",
    ),
    "batch_squeezed": (
        "class Model(Good):\n def forward(self, x): return super().forward(x).mean(0)",
        "answers", "fail", "one row per input",
    ),
    "wrong_size": (
        "class Model(Good):\n def forward(self, x): return super().forward(x[:, :, :7])",
        "answers", "fail", "at the task's size",
    ),
    "class_order": (
        "class Model(Nearest):\n def forward(self, x): return super().forward(x).roll(3, 1)",
        "class order", "fail", "into the order of the task's classes: 0, 1",
    ),
    "class_names": (
        "class Model(Good):\n pretrained_cfg = {'label_names': list('1234567890')}",
        "class order", "fail", "into the order of the task's classes",
    ),
    "no_module": ("def Model(shape): return 3", "build", "fail", "torch.nn.Module"),
    "does_not_build": ("def Model(shape): raise KeyError('weights')", "build", "fail", "torch.nn.Module"),
}  # fmt: skip
