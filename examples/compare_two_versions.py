"""Compare two versions of a model on the same samples: which were lost, and is that more than chance?

A run stores the outcome of every sample. Comparing two runs pairs the samples, so that small differences show.
"""

import sys

import torch
from torch import nn

from robustbench_wb import compare, run
from robustbench_wb.tasks.digits import DIGITS

results = sys.argv[1] if len(sys.argv) > 1 else "example-results"
digits = DIGITS.load(None)
images = torch.from_numpy(digits.train.inputs).float() / 255
labels = torch.from_numpy(digits.train.labels)


def trained(noise: float) -> nn.Module:
    """A small network, trained on images with Gaussian noise of this standard deviation."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        noisy = images + noise * torch.randn_like(images)
        nn.functional.cross_entropy(model(noisy), labels).backward()
        optimizer.step()
    return model


stressors = ["pgd-linf;eps=16/255;steps=20", "gaussian-noise;severity=5"]
for noise in (0.0, 0.3):  # the same name twice: two versions of one model
    table = run(variants={"network": trained(noise)}, tasks="digits", stressors=stressors, results=results)
    print(table, "\n")

difference = compare(f"v{table.version - 1}", f"v{table.version}", results, delta=1.0)
for pair in difference.pairs:
    print(
        f"{pair.new.cell:20} {pair.verdict:12} {100 * (pair.difference or 0):+6.1f} points, "
        f"{pair.lost} samples lost, {pair.gained} gained"
    )
