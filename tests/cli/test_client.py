"""What the command line says of answers that leave out a part of a cluster."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from organism.cli.client import Client

AWAY = "partition 3 (node b)"


class Parts(BaseHTTPRequestHandler):
    """Answers with an empty list that lacks what ``away`` says."""

    away = ""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        if Parts.away:
            self.send_header("organism-unanswered", Parts.away)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def client() -> Iterator[Client]:
    server = HTTPServer(("127.0.0.1", 0), Parts)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Client(f"http://127.0.0.1:{server.server_port}", "token", Path())
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_is_missing_in_an_answer_is_said_once(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, when parts go and when they are back; results stay as they are."""
    said = []
    for away in ("", AWAY, AWAY, ""):
        Parts.away = away
        assert client.ask(list, "/v1/agents") == []
        told = capsys.readouterr()
        said.append(told.err)
        assert told.out == ""
    assert said == ["", f"not in this, because they did not answer: {AWAY}\n", "", "every part answers again\n"]
