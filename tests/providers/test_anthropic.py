"""Which servers that speak Anthropic's messages are taken to hold answers to a JSON Schema, and who says so."""

from pathlib import Path
from typing import Any

import pytest

from organism import ConfigError, Organism
from organism.llm.requests import ChatMessage, CompletionRequest, ResponseFormat, Tool
from organism.providers.anthropic import AnthropicProvider
from organism.testing import ScriptedHTTPProvider

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
REQUEST = CompletionRequest(
    model="m",
    messages=(ChatMessage("user", "hi"),),
    max_output_tokens=9,
    tools=(Tool("f", "x", {"type": "object"}, strict=True),),
    response_format=ResponseFormat(SCHEMA, strict=True),
)


@pytest.mark.parametrize(
    ("own", "vouched", "holds"),
    [
        (False, None, False), (False, True, True), (False, False, False),
        (True, None, True), (True, False, False), (True, True, True),
    ],
)  # fmt: skip
async def test_the_user_vouches_for_a_server_of_ones_own(
    own: bool, vouched: bool | None, holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schema is sent as one where it is held to, else asked for in words; so it is with strict tools."""
    async with ScriptedHTTPProvider(["{}"]) as server:
        if own:
            monkeypatch.setattr("organism.providers.anthropic.BASE_URL", server.url)
        adapter = AnthropicProvider("p", "k", None if own else server.url, structured_outputs=vouched)
        await adapter.complete(REQUEST)
        await adapter.aclose()

        sent: dict[str, Any] = server.requests[0].body
        assert (sent.get("output_config", {}).get("format") is not None) is holds
        assert sent["tools"][0].get("strict", False) is holds
        assert ("JSON Schema" in str(sent.get("system"))) is not holds


@pytest.mark.parametrize("value", ["maybe", "1", "[true]", "{a: b}", '"vouched"', "1.5"])
def test_a_value_that_is_none_is_refused_at_its_line(value: str, tmp_path: Path) -> None:
    """Whoever mistypes it hears where, before anything starts."""
    file = tmp_path / "organism.yaml"
    file.write_text(
        "name: x\nentry: a\nllm:\n  providers:\n    p:\n      type: anthropic\n      api_key: ${env:K}\n"
        f"      structured_outputs: {value}\n  models: {{m: p/m}}\nagents: {{a: {{model: m}}}}\n"
    )

    with pytest.raises(ConfigError) as refused:
        Organism.from_yaml(file, environment={"K": "k"})

    assert "organism.yaml:8" in str(refused.value)
    assert "structured_outputs" in str(refused.value)
