"""Evaluate a model in memory: train a small network on handwritten digits, then attack it and corrupt its inputs."""

import torch
from torch import nn

from robustbench_wb import PgdLinf, evaluate
from robustbench_wb.tasks.digits import DIGITS

digits = DIGITS.load(None)  # embedded: images are uint8, (N, 1, 8, 8)
images = torch.from_numpy(digits.train.inputs).float() / 255
labels = torch.from_numpy(digits.train.labels)
mean, std = digits.train.moments()

torch.manual_seed(0)
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for _ in range(100):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model((images - mean[0]) / std[0]), labels).backward()
    optimizer.step()

# Normalisation goes inside: radii of attacks are those of pixels in [0, 1], whatever the model takes.
result = evaluate(
    model,
    digits.test.inputs,
    digits.test.labels,
    stressors=[
        PgdLinf(eps="8/255"),
        PgdLinf(eps="16/255"),
        "quick-linf;eps=16/255",
        "gaussian-noise;severity=3",
        "motion-blur;severity=3",
    ],
    mean=mean,
    std=std,
    keep_images=True,
)
print(result)

attack = result["pgd-linf@16/255"]
print(f"\n{attack.broken} of {attack.n} images are broken at 16/255; grade {attack.grade}")
for reason in attack.reasons:
    print(f"doubt: {reason}")
if attack.images is not None:
    changes = abs(attack.images - digits.test.inputs / 255)
    print(f"largest change of a pixel: {255 * changes.max():.1f}/255")
