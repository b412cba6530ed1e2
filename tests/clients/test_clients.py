"""Programs and agents that have never heard of organism, installed from their registries, through a real daemon."""

from pathlib import Path

import pytest

from tests.clients.catalog import CELLS, CLIENTS, Client
from tests.clients.installing import CACHE, install
from tests.clients.recipes import read_recipes
from tests.clients.trials import try_client


def test_every_client_has_its_two_lines_in_the_documentation() -> None:
    """The page of clients says how each of them is set up, and the table runs what it says."""
    assert {client.name for client in CLIENTS} == set(read_recipes("http://127.0.0.1:1"))


@pytest.mark.clients
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_client_does_at_the_gateway_all_that_it_can_do(client: Client, tmp_path: Path) -> None:
    """It answers, streams, uses tools, sees pictures, stops when the budget ends, and the ledger is the bill."""
    install(client, CACHE)

    trial = try_client(client, CACHE, tmp_path, list(CELLS))

    assert {name: cell.wrong for name, cell in trial.cells.items() if cell.wrong} == {}
