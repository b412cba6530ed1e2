"""The first hold of a long English request with a model whose tokenizer was measured: close, and never too little."""

import pytest

from organism.budget.calibration import Calibration
from organism.budget.measured_tokenizers import LENGTH_MIN

AGENT = '''You are a coding agent that works in the user's terminal. Read a file before you change it, and keep to the
style of the code around it. Never guess the content of a file: call `read_file` with its path, or `search` with a
pattern. When a command fails, read what it says, find the cause and try again; tell the user what you did and why.

# Tools
{"name": "read_file", "description": "Reads a file from the local filesystem. The path must be absolute. Lines that are
longer than 2000 characters are cut.", "parameters": {"type": "object", "properties": {"path": {"type": "string",
"description": "The absolute path of the file to read"}, "limit": {"type": "integer", "description": "The number of
lines to read, where the file is too large to be read at once"}}, "required": ["path"], "additionalProperties": false}}

def total(lines: list[str]) -> int:
    """Return the sum of the numbers in the lines of a file, and pass over what is no number."""
    found = [int(line) for line in lines if line.strip().isdigit()]
    return sum(found)
'''
COPIES = 12
COUNTS = {
    "deepseek/deepseek-chat": 3192,
    "google/gemini-3-pro": 3324,
    "p/gemma-3-27b-it": 3336,
    "azure/gpt-3.5-turbo": 3144,
    "openrouter/openai/gpt-4o": 3120,
    "groq/meta-llama/Llama-3.3-70b": 3144,
    "p/qwen3-coder": 3168,
    "mistral/devstral-small": 3204,
}
"""What the tokenizers of these models make of twelve copies; Llama's, Qwen's and the others' own files, run once."""

TOOLS = (
    "# Running commands\nUse `run_command` for tests, builds and git, never for reading or writing files: `read_file` "
    "and `write_file` are for that.\n"
    '{"type":"function","function":{"name":"run_command","description":"Runs a command in the shell of the user and '
    'returns what it prints. A command that takes longer than the timeout is ended.","parameters":{"type":"object",'
    '"properties":{"command":{"type":"string","description":"The command to run"},"timeout_seconds":{"type":"integer",'
    '"description":"The number of seconds after which it is ended","minimum":1}},"required":["command"],'
    '"additionalProperties":false}}}\n'
    '{"type":"function","function":{"name":"write_file","description":"Writes a file, and creates the folders to it.",'
    '"parameters":{"type":"object","properties":{"path":{"type":"string","description":"The path of the file"},'
    '"content":{"type":"string","description":"All of the new content"}},"required":["path","content"],'
    '"additionalProperties":false}}}\n'
)
TOOLS_COUNTS = {
    "deepseek/deepseek-chat": 1308,
    "google/gemini-3-pro": 1308,
    "p/gemma-3-27b-it": 1302,
    "azure/gpt-3.5-turbo": 1230,
    "openrouter/openai/gpt-4o": 1254,
    "groq/meta-llama/Llama-3.3-70b": 1230,
    "p/qwen3-coder": 1230,
    "mistral/devstral-small": 1290,
}
"""The same of six copies of these, which have hardly more than one space between words."""

BY_BYTES = Calibration().guess("p/unmeasured", [AGENT * COPIES]).tokens
DUTCH = "De vloed komt op en neemt mee wat er die ochtend op het strand is blijven liggen, en niemand kijkt er van op. "
JOINED = "the qxv_vbz_zkw_wpj_jfg_gdh_hsc_ctr_rmq "
MARKED = " the - of - - tide -"


def test_first_hold_is_close_to_what_each_measured_tokenizer_counts() -> None:
    """It is never below the count, and at most 1.3 times it."""
    for family, count in COUNTS.items():
        held = Calibration().guess(family, [AGENT * COPIES]).tokens
        assert count <= held <= count * 1.3, (family, count, held)


def test_prose_and_schemas_are_held_closer_even_where_they_are_short() -> None:
    """What coding agents begin with is held at most a fourth above the count, from a thousand tokens on."""
    for family, count in TOOLS_COUNTS.items():
        for copies in (6, 12):
            held = Calibration().guess(family, [TOOLS * copies]).tokens
            assert count * copies <= held * 6 <= count * copies * 1.25, (family, copies, held)


def test_columns_and_indentation_are_no_flowing_text() -> None:
    """Spaces that stand between no two words take tokens of their own."""
    held = [Calibration().guess("p/gpt-4o", [text]).tokens for text in (TOOLS.replace(" ", "   ") * 12, TOOLS * 12)]
    assert held[0] > held[1] * 1.1


@pytest.mark.parametrize("family", ["p/unmeasured", "openrouter/anthropic/claude-opus-5", "p/my-gpt-4o", "p/llama-4"])
def test_models_whose_tokenizer_nobody_has_measured_are_held_by_their_bytes(family: str) -> None:
    """A name that only resembles one says nothing."""
    assert Calibration().guess(family, [AGENT * COPIES]).tokens == BY_BYTES


@pytest.mark.parametrize(
    "text",
    [
        DUTCH * 120,
        JOINED * 400,
        MARKED * 1_200,
        (AGENT + DUTCH * 12) * 8,
        "the tide of a " + '{"a": 1, "b": [2, 3], "c": null}, ' * 900,
        "été où à " + AGENT * 8 + "à la mer où l'été naît " * 40,
        "Read the file of a user and go to it. " * 20,
    ],
    ids=["Dutch", "few spaces", "marks", "half Dutch", "data", "accents", "short"],
)
def test_other_text_is_held_by_its_bytes(text: str) -> None:
    """What takes more tokens for each piece than English and code do is not held at what these take."""
    held = [Calibration().guess(family, [text]).tokens for family in ("p/gpt-4o", "p/unmeasured")]
    assert held[0] == held[1]


@pytest.mark.parametrize("beside", ["perusteella mukaisesti tutkimuksen ", "zorpka frinlo gluk wugra "])
@pytest.mark.parametrize("copies", [6, 60])
@pytest.mark.parametrize("where", [0, 1, 2])
def test_english_with_other_writing_beside_it_is_held_by_its_bytes(beside: str, copies: int, where: int) -> None:
    """A text to translate, wherever it stands, is not held at what the English around it takes."""
    parts = [TOOLS * (copies // 2)] * 2
    parts.insert(where, beside * (400 * copies // len(beside)))
    held = [Calibration().guess(family, parts).tokens for family in ("p/gpt-4o", "p/unmeasured")]
    assert held[0] == held[1]


def test_what_was_learnt_counts_for_more_than_what_was_measured() -> None:
    """A server that takes more than its model's tokenizer says is believed."""
    calibration = Calibration(samples_min=1)
    guess = calibration.guess("p/gpt-4o", [AGENT * COPIES])
    assert guess.text >= LENGTH_MIN
    calibration.learn("p/gpt-4o", guess, guess.tokens * 2)
    assert calibration.guess("p/gpt-4o", [AGENT * COPIES]).tokens >= guess.tokens * 2
