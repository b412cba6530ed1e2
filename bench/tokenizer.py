"""Counts tokens with a real tokenizer: llama.cpp and SmolLM2, in this process. Needs the extra ``local``."""

import json
import urllib.request
from functools import cache
from typing import Any

from organism.providers.model_files import DEFAULT_MODEL, fetch

_CONTEXT_TOKENS = 512
_TIMEOUT_S = 60


class Tokenizer:
    """llama.cpp's tokenizer and chat template, over its own server; ends with the process."""

    def __init__(self) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(fetch(DEFAULT_MODEL, print))
        params.n_ctx = _CONTEXT_TOKENS
        params.n_parallel = 1
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        params.warmup = False
        params.use_jinja = True
        self._server = xllamacpp.Server(params)
        self.count = cache(self._count)
        self.count_turns = cache(self._count_turns)

    def _count(self, text: str) -> int:
        """Return the tokens of a text."""
        return len(self._post("/tokenize", {"content": text})["tokens"])

    def _count_turns(self, turns: tuple[str, ...]) -> int:
        """Return the tokens of a conversation as the model is shown it, chat template included."""
        messages = [
            {"role": "user" if place % 2 == 0 else "assistant", "content": turn} for place, turn in enumerate(turns)
        ]
        return self.count(self._post("/apply-template", {"messages": messages})["prompt"])

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the server in this process
            self._server.listening_address + path,
            data=json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310
            found: dict[str, Any] = json.load(response)
        return found
