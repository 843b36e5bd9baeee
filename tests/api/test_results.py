"""Results of all verbs as data frames, from one small pair of versions."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import robustbench_wb as api
from robustbench_wb.api.report import report


def network(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two versions of one model under noise at two strengths."""
    results = str(tmp_path_factory.mktemp("results"))
    for seed in (0, 1):
        api.run(
            variants={"mine": network(seed)},
            tasks="digits",
            samples=30,
            stressors=["noise-linf"],
            epsilons=["4/255", "8/255"],
            results=results,
        )
    return results


@pytest.mark.slow(2)
def test_tables_become_frames(place: str, tmp_path: Path) -> None:
    compared = api.compare("v1", "v2", place).to_pandas()
    assert list(compared["strength"]) == ["", "4/255", "8/255"]
    assert {"verdict", "difference", "n", "lost", "gained"} <= set(compared)
    gate = api.gate("v1", "v2", place, margin=50.0)
    assert len(gate.to_pandas()) == len(gate.judgements)
    assert {"outcome", "stressor"} <= set(gate.to_pandas())
    assert len(api.verify("v2", place).to_pandas()) == 0
    assert list(api.leaderboard("v2", place).to_pandas()["variant"]) == ["mine"]
    assert list(api.curves("v2", place).to_pandas()["value"]) == pytest.approx([0, 4 / 255, 8 / 255])
    assert set(api.strength("mine", results=place).to_pandas()["strength"]) == {"4/255", "8/255"}
    assert "<html" in report("v2", place).html()
    file = tmp_path / "claims.toml"
    suite = api.leaderboard("v2", place).rows[0].suite
    file.write_text(f'suite = "{suite}"\nclaims = ["mine has an accuracy of at least 1 % at clean"]\n')
    claims = api.claims(str(file), "v2", place).to_pandas()
    assert list(claims["sentence"]) == ["mine has an accuracy of at least 1 % at clean"]
    assert {"verdict", "p_holds"} <= set(claims)
    merged = api.merge(place, str(tmp_path / "other"))
    assert merged.rows == 3


def test_measurements_become_frames(tmp_path: Path) -> None:
    noise = api.selfcheck(variants={"mine": network(0)}, suite="clean", tasks="digits", samples=20, times=2)
    assert list(noise.to_pandas()["flips"]) == [0]
    trained = api.train(variants="vit", suite="clean", tasks="digits", recipe="none")
    assert list(trained.to_pandas()["variant"]) == ["vit"]
    assert trained.to_pandas()["parameters"][0] > 0


MISTAKES: dict[str, tuple[Callable[[str], object], str]] = {
    "delta": (lambda place: api.compare("v1", "v2", place, delta=101), "delta"),
    "correction": (lambda place: api.compare("v1", "v2", place, correction="none"), "correction"),
    "field": (lambda place: api.compare("v1", "v2", place, allow=["metric"]), "allow"),
    "two margins": (lambda place: api.gate("v1", "v2", place, margin=1.0, config="x"), "config"),
    "margin": (lambda place: api.gate("v1", "v2", place, margin=-1.0), "margin"),
    "rerun": (lambda place: api.verify("v2", place, rerun=-1), "rerun"),
    "prefer": (lambda place: api.merge([], place, prefer="me"), "prefer"),
    "request": (lambda place: api.run(api.RunRequest(), place, samples=3), "request"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_errors_name_the_parameter(mistake: str, place: str) -> None:
    call, parameter = MISTAKES[mistake]
    with pytest.raises(api.UsageError) as caught:
        call(place)
    assert parameter in caught.value.parameters
    assert parameter in str(caught.value)
    assert "--" not in str(caught.value)
