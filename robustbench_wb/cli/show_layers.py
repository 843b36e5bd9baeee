"""``show SUBJECT --layers``: what each layer does, clean and under stressors."""

from robustbench_wb.cli import console
from robustbench_wb.cli.request import make_request


def show_layers(name: str, progress: str, as_json: bool, **options: object) -> None:
    """Train the subject or find it in the cache, measure its layers, and print them.

    ``options`` are those of a request.

    Raises:
        UsageError: the request cannot be carried out, or the subject has no layers to look into.
    """
    request = make_request(suite="clean", variants=[name], **options)
    from robustbench_wb.api.run import layers
    from robustbench_wb.report.layers import layer_blocks, layers_json

    with console.progress_view(progress) as view:
        found = layers(request, view)
    console.present(lambda: layer_blocks(found), lambda: layers_json(found), as_json)
