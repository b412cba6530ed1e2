"""What becomes of each field that the vendors' formats define: decided, said in the manual, and so."""

from pathlib import Path
from typing import Any

import pytest
from anthropic.types import message_count_tokens_params, message_create_params
from anthropic.types.beta import message_create_params as beta_params
from openai.types import completion_create_params
from openai.types.chat import completion_create_params as chat_params
from openai.types.responses import response_create_params

from organism.formats.anthropic_messages.fields import FIELDS as MESSAGES
from organism.formats.field_rules import FieldRule
from organism.formats.google_content.fields import FIELDS as GOOGLE
from organism.formats.openai_chat.fields import FIELDS as CHAT
from organism.formats.openai_completions.fields import FIELDS as COMPLETIONS
from organism.formats.openai_responses.fields import FIELDS as RESPONSES

from .sdk_fields import names_of

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "gateway-fields.md"
TABLES: dict[str, tuple[tuple[FieldRule, ...], tuple[Any, ...]]] = {
    "Chat completions": (CHAT, (chat_params.CompletionCreateParamsBase,)),
    "Responses": (RESPONSES, (response_create_params.ResponseCreateParamsBase,)),
    "Completions of plain text": (COMPLETIONS, (completion_create_params.CompletionCreateParamsBase,)),
    "Messages": (
        MESSAGES,
        (
            message_create_params.MessageCreateParamsBase,
            beta_params.MessageCreateParamsBase,
            message_count_tokens_params.MessageCountTokensParams,
        ),
    ),
    "Google's generateContent": (GOOGLE, ()),
}


@pytest.mark.parametrize("format_", TABLES)
def test_every_field_of_the_official_sdk_is_decided(format_: str) -> None:
    """A field, a tool or an item that a newer SDK defines fails here until somebody has said what becomes of it."""
    listed, kinds = TABLES[format_]
    verdicts = {rule.name: rule.verdict for rule in listed}
    asked = {name for kind in kinds for name in names_of(kind, verdicts)}

    assert sorted(asked - verdicts.keys()) == []
    assert len(verdicts) == len(listed), "each name is decided once"


def test_the_manual_has_every_row() -> None:
    """The page of fields is what the tables say; write it again with ``python -m tests.formats.test_field_rules``."""
    assert PAGE.read_text(encoding="utf-8") == page()


def page() -> str:
    """Return the page as the tables have it."""
    lines = [
        "# Fields of the gateway's formats",
        "",
        "What becomes of each field that the vendors' references define. *Passed on*: it reaches every provider that",
        "has a word for it; where it would matter and a model's provider has none, the call is refused by the field's",
        "name before anything is held. *Accepted*: it changes neither the answer nor its price. *Refused*: by its",
        "name, with what to do instead. `field: type` is a kind of what stands in a field, `content: type` of what",
        "stands in a turn.",
    ]
    for name, (listed, _) in TABLES.items():
        lines += ["", f"## {name}", "", "| Field | | |", "| --- | --- | --- |"]
        grouped: dict[tuple[str, str], list[str]] = {}
        for rule in listed:
            grouped.setdefault((rule.verdict, rule.note), []).append(f"`{rule.name}`")
        lines += [f"| {', '.join(names)} | {verdict} | {note} |" for (verdict, note), names in grouped.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
