"""``organism models``: models that run on this machine."""

from cyclopts import App

from organism.cli import exit_codes
from organism.cli.options import Json
from organism.cli.output import note, print_json, print_lines
from organism.cli.tables import word_table
from organism.cli.terminal import Terminal
from organism.providers.model_files import MODELS, ModelFile, find
from organism.providers.model_files import fetch as fetch_model

app = App(name="models")


@app.command(name="list")
def list_models(*, json: Json = False) -> int:
    """List the models known by name, and where they are."""
    if json:
        return print_json([_as_json(model) for model in MODELS.values()])
    rows = [
        (model.name, f"{model.size // 1_000_000} MB", model.licence, str(find(model.name) or "not fetched"))
        for model in MODELS.values()
    ]
    Terminal().show(word_table(("model", "size", "licence", "file"), rows))
    return exit_codes.OK


@app.command
def fetch(name: str = "smollm2-135m", *, json: Json = False) -> int:
    """Fetch a model ahead of time.

    Args:
        name: One of 'organism models list'.
    """
    file = fetch_model(name, note)
    return print_lines([str(file)], as_json=json)


def _as_json(model: ModelFile) -> dict[str, object]:
    found = find(model.name)
    return {"name": model.name, "bytes": model.size, "licence": model.licence, "file": found and str(found)}
