"""The options that commands share, each written once."""

from typing import Annotated

import typer

Results = Annotated[
    str,
    typer.Option("--results", metavar="PLACE", envvar="RBWB_RESULTS", help="Folder or Delta URL where results live."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Suite = Annotated[str, typer.Option("--suite", help="A suite's name, or a TOML file of your own.")]
Tasks = Annotated[
    list[str] | None,
    typer.Option("--task", help="A task's name, or a hub id OWNER/NAME. Repeatable.  [default: the suite's]"),
]
Variants = Annotated[
    list[str] | None,
    typer.Option(
        "--variant", help="A variant's name, path.py:factory, timm:NAME or hf:NAME. Repeatable.  [default: the suite's]"
    ),
]
Size = Annotated[str | None, typer.Option("--size", help="Size of the variants.  [default: the scale's]")]
Recipe = Annotated[
    str,
    typer.Option(
        "--recipe", help="How to train, by a name that `list recipes` prints; 'none' takes it as it is built."
    ),
]
Scale = Annotated[str, typer.Option("--scale", help="How much is run: smoke, small or full.")]
Samples = Annotated[
    int | None, typer.Option("--samples", help="Evaluated samples.  [default: the scale's]", metavar="N")
]
Split = Annotated[
    str, typer.Option("--split", help="Evaluate the test split, or the validation split of tasks that have one.")
]
Stressors = Annotated[
    list[str] | None,
    typer.Option(
        "--stressor",
        metavar="SIGNATURE",
        help="Run this instead of the suite's stressors, like 'pgd-linf;eps=8/255;steps=40'. Repeatable.",
    ),
]
Epsilons = Annotated[
    list[str] | None,
    typer.Option("--epsilon", metavar="EPS", help="Use this strength instead of the suite's list. Repeatable."),
]
Checkpoint = Annotated[
    str | None,
    typer.Option("--checkpoint", metavar="FILE", help="Test these weights (safetensors); trains nothing."),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of training and of all noise.")]
DataDir = Annotated[
    str | None,
    typer.Option("--data-dir", metavar="DIR", help="Local mirror in hub layout.  [default: RBWB_DATA_DIR]"),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
Batch = Annotated[
    int | None,
    typer.Option(
        "--batch-size", help="Samples per forward pass; never changes a result.  [default: what is fast and fits]"
    ),
]
Workers = Annotated[
    int, typer.Option("--workers", metavar="N", help="Processes that measure at once; never changes a result.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Fail on what is undecided, too.")]
Markdown = Annotated[
    str | None, typer.Option("--markdown", metavar="FILE", help="Write Markdown; '-' is standard output.")
]
ProgressStyle = Annotated[str, typer.Option("--progress", help="auto, bar, lines or none.")]
LogLevel = Annotated[str, typer.Option("--log-level", help="debug, info, warning or error.")]
