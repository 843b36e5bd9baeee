"""What a user writes: checked by mypy in strict mode and run by a test."""

from pathlib import Path

import torch

from robustbench_wb import Comparison, Evaluation, PgdLinf, RunResult, Stressor, compare, evaluate, run


def evaluated() -> Evaluation:
    """A model in memory under an attack by value and one by signature."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 10))
    images, labels = torch.rand(20, 3, 8, 8), torch.arange(20) % 10
    stressors: list[Stressor | str] = [PgdLinf(eps="8/255", steps=2), "noise-linf;eps=8/255"]
    return evaluate(model, images, labels, stressors=stressors)


def compared(results: Path) -> Comparison:
    """Two versions of a score table."""
    for seed in (0, 1):
        result: RunResult = run(
            suite="clean", tasks="digits", variants=["vit"], recipe="none", seed=seed, samples=20, results=str(results)
        )
        assert result.version == seed + 1
    return compare("v1", "v2", str(results), delta=0.5)


def main(results: Path) -> str:
    """Both, as text."""
    found = evaluated()
    accuracy: float = found["pgd-linf"].accuracy
    pairs: int = len(compared(results).to_pandas())
    return f"{found}\n{accuracy:.3f} {pairs}"
