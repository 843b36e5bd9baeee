"""``export``: results in the formats of other tools."""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options

export_app = typer.Typer(
    help="Export results to other tools: Hugging Face, RobustBench, experiment trackers.", no_args_is_help=True
)

Model = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="Model of the table, like vit-nano.  [default: the only one]"),
]
Output = Annotated[
    str, typer.Option("-o", "--output", metavar="FILE", help="Write to this file; '-' is standard output.")
]


@export_app.command("hf")
def hf_command(
    version: options.TableVersion = "latest",
    model: Model = None,
    output: Output = "-",
    results: options.Results = "results",
) -> None:
    """Write a model card of Hugging Face: a section on robustness, and the numbers as model-index metadata.

    An existing card keeps its other metadata and text; a section of an earlier export is replaced.

    Examples:

      robustbench-wb export hf --model vit-nano -o README.md
    """
    from robustbench_wb import export_hf

    _write(export_hf(model, version, results, card=None if output == "-" else output), output)


@export_app.command("hf-results")
def hf_results_command(
    dataset: Annotated[
        str, typer.Option("--dataset", metavar="OWNER/NAME", help="Dataset of the benchmark on the hub.")
    ],
    task_id: Annotated[str, typer.Option("--task-id", metavar="ID", help="Task of the benchmark.")],
    version: options.TableVersion = "latest",
    model: Model = None,
    column: Annotated[
        str | None,
        typer.Option(
            "--column", metavar="NAME", help="Headline number, like 'Linf 8/255'.  [default: the ranking one]"
        ),
    ] = None,
    output: Output = "-",
    results: options.Results = "results",
) -> None:
    """Write an evaluation result of the Hugging Face hub (.eval_results/NAME.yaml of a model repository).

    The hub shows it on the page of the model and in the leaderboard of the benchmark, which must be registered there.

    Examples:

      robustbench-wb export hf-results --dataset me/robust-digits --task-id linf --model vit-nano -o linf.yaml
    """
    from robustbench_wb import export_hf_results

    text = export_hf_results(dataset, task_id, model, version=version, results=results, column=column)
    _write(text, output)


@export_app.command("robustbench")
def robustbench_command(
    version: options.TableVersion = "latest",
    model: Model = None,
    column: Annotated[
        str | None,
        typer.Option(
            "--column", metavar="NAME", help="Headline number, like 'Linf 8/255'.  [default: the ranking one]"
        ),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Title of the paper.")] = "",
    authors: Annotated[str, typer.Option("--authors", help="Authors of the paper.")] = "",
    link: Annotated[str, typer.Option("--link", help="Address of the paper.")] = "",
    venue: Annotated[str, typer.Option("--venue", help="Where the paper was published.")] = "",
    additional_data: Annotated[
        bool, typer.Option("--additional-data", help="The model was trained on additional data.")
    ] = False,
    output: Output = "-",
    results: options.Results = "results",
) -> None:
    """Write a model file of RobustBench (model_info/DATASET/THREAT/NAME.json).

    autoattack_acc, by which RobustBench ranks, is set if AutoAttack was run: --stressor autoattack-linf.

    Examples:

      robustbench-wb export robustbench --model vit-nano --column "Linf 8/255" -o Mine2026.json
    """
    from robustbench_wb import export_robustbench
    from robustbench_wb.report.exports.robustbench_json import PaperFacts

    facts = PaperFacts(title=title, authors=authors, link=link, venue=venue, additional_data=additional_data)
    _write(export_robustbench(model, version, results, column=column, facts=facts), output)


@export_app.command("tracker")
def tracker_command(
    tracker: Annotated[str, typer.Argument(metavar="TRACKER", help="mlflow, tensorboard or wandb.")],
    version: options.TableVersion = "latest",
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="One model.  [default: all]")] = None,
    place: Annotated[
        str | None,
        typer.Option("--place", metavar="PLACE", help="Folder or address.  [default: that of the tracker]"),
    ] = None,
    results: options.Results = "results",
) -> None:
    """Write the numbers of a version to an experiment tracker: a run per model, with the version as step.

    The libraries are extras: pip install 'robustbench_wb[mlflow]', [tensorboard] or [wandb].

    Examples:

      robustbench-wb export tracker tensorboard --place runs

      robustbench-wb export tracker mlflow v3 --place sqlite:///mlflow.db
    """
    from robustbench_wb import export_tracker

    where = export_tracker(tracker, version, results, model=model, place=place)
    console.tell(f"written to {where}")


def _write(text: str, output: str) -> None:
    if output == "-":
        console.show(text)
        return
    console.save(output, text)
    console.tell(f"written to {output}")
