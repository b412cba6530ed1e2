"""No secret of the process is left in an error's text, however it was written there."""

import html
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from organism import ConfigError
from organism.errors import RejectedError, UncertainError
from organism.text.credentials import header_secret, remember_environment
from organism.text.error_text import TEXT_MAX, describe
from organism.text.redaction import Redactor, headline, redact

WRITINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "with a line break": lambda secret: secret + "\n",
    "as JSON": json.dumps,
    "as JSON with its letters": lambda secret: json.dumps(secret, ensure_ascii=False),
    "as JSON in JSON": lambda secret: json.dumps(json.dumps(secret)),
    "as JSON with escaped slashes": lambda secret: json.dumps(secret).replace("/", "\\/"),
    "as JSON of numbers": lambda secret: "".join(f"\\u{ord(one):04X}" for one in secret),
    "as Python": repr,
    "as Python in ASCII": ascii,
    "as Python in Python": lambda secret: repr(repr(secret)),
    "as Python's bytes": lambda secret: repr(secret.encode()),
    "in a path": quote,
    "in a query": lambda secret: quote(secret, safe=""),
    "in a form": quote_plus,
    "in a URL in a URL": lambda secret: quote(quote(secret, safe=""), safe=""),
    "in a URL, with small digits": lambda secret: "".join(
        f"%{byte:02x}" if byte > 127 or not chr(byte).isalnum() else chr(byte) for byte in secret.encode()
    ),
    "in a URL, every byte": lambda secret: "".join(f"%{byte:02x}" for byte in secret.encode()),
    "in HTML": html.escape,
    "in HTML in JSON": lambda secret: json.dumps(html.escape(secret)),
    "JSON in HTML": lambda secret: html.escape(json.dumps(secret)),
    "in hexadecimal": lambda secret: secret.encode().hex(),
    "in base64": lambda secret: b64encode(secret.encode()).decode(),
    "in base64 for URLs": lambda secret: urlsafe_b64encode(secret.encode()).decode().rstrip("="),
    "behind a name in base64": lambda secret: b64encode(f"user:{secret}".encode()).decode(),
    "inside of base64": lambda secret: b64encode(f"ab{secret}\n".encode()).decode(),
    "base64 in a URL": lambda secret: quote(b64encode(f"u:{secret}".encode()).decode(), safe=""),
    "cut off": lambda secret: secret[: len(secret) - 2],
}
SECRETS = ["p/ss wörd+of\"tests'", "tests/0123+4567==", "org-a.b~c&d<e>f\\g", "üñïçödé-geheim", "abcdefgh"]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("writing", WRITINGS)
def test_secret_is_masked_however_it_is_written(writing: str, secret: str) -> None:
    """Plain, escaped, for a URL, in HTML, in base64 at any place, doubly, or cut off at the end of the text."""
    written = WRITINGS[writing](secret)
    cleaned = Redactor([secret + "\n"])(f"refused: {written}")

    assert "***" in cleaned
    assert written.strip() not in cleaned
    assert cleaned.startswith("refused: ")


@pytest.mark.parametrize("secret", ["x", "test", "none", "key1", "ollama", "dummy", "no_key"])
def test_short_secret_blanks_no_ordinary_word(secret: str) -> None:
    """A key of fewer than eight characters is masked where it stands as a credential, and nowhere else."""
    redactor = Redactor([secret])
    text = f"the {secret} of a {secret}ing {secret}: no {secret}"

    assert redactor(text) == text
    for credential in (f"Bearer {secret}", f"api_key={secret}", f'"x-api-key": "{secret}"', f"token: {secret}"):
        assert redactor(credential) == "***".join(credential.rsplit(secret, 1))
        assert "***" in redactor(credential)


@pytest.mark.parametrize(
    "around",
    ["{}\n", "{}\r\n", " {} ", "\ufeff{}", "\n\ufeff {}\t", "{}\u200b", "\u2028{}"],
    ids=["newline", "CR LF", "spaces", "BOM", "all", "zero width", "line separator"],
)
def test_what_a_file_puts_around_a_key_is_no_part_of_it(around: str) -> None:
    """Line breaks, spaces and marks around a key are taken off: mounted files and editors put them there."""
    assert header_secret("UP_KEY", around.format("k-0123456789")) == "k-0123456789"


@pytest.mark.parametrize(
    "value",
    ["", "\n", "\ufeff", "k-0123\n456789", "k\u20110123456789", "k-0123\x00456789", "ключ-0123456789", "k-0123ä456789"],
)
def test_key_that_no_header_can_hold_is_refused_by_name(value: str) -> None:
    """What could not be sent is refused where it is read, with the variable's name and never with its value."""
    with pytest.raises(ConfigError, match="UP_KEY") as caught:
        header_secret("the environment variable UP_KEY", value)
    assert "0123" not in str(caught.value)


@pytest.mark.parametrize("kind", [RejectedError, UncertainError])
def test_provider_error_holds_no_secret_and_is_one_line(kind: type[RejectedError]) -> None:
    """Secrets leave a provider's text before it is cut, so that no half of one stays; line breaks leave it too."""
    remember_environment({"SOME_API_KEY": "canary-of-an-environment\n"})
    for place in (0, 170, 185, 195, 205):
        error = kind("p", "x" * place + "\ncanary-of-an-environment\r\nend")
        assert "canary" not in str(error)
        assert len(str(error).splitlines()) == 1
    assert redact("canary-of-an-environment") == "***"


def test_description_of_a_strangers_error_holds_no_secret() -> None:
    """An exception of a handler, a tool or a library is described without secrets, wherever it would be cut."""
    remember_environment({"OTHER_TOKEN": "canary-of-a-handler"})
    for place in (0, TEXT_MAX - 30, TEXT_MAX - 20, TEXT_MAX - 5, TEXT_MAX):
        assert "canary" not in describe(ValueError("x" * place + " canary-of-a-handler"))
    group = ExceptionGroup("g", [ValueError("canary-of-a-handler"), OSError("canary-of-a-handler")])
    assert describe(group) == "ValueError: ***; OSError: ***"


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("ValueError: cannot parse 'my diagnosis'", "ValueError"),
        ("provider 'up' answered 400: the prompt 'my diagnosis' is refused", "provider 'up' answered 400"),
        ("agent 'a' gave no answer: ValueError: my diagnosis", "agent 'a' gave no answer"),
        ("MCP server 's' failed: Error: my diagnosis", "MCP server 's' failed"),
        ("terminated by order", "terminated by order"),
    ],
)
def test_headline_of_an_error_quotes_nobody(text: str, short: str) -> None:
    """What comes before the first colon is in our own words; who may only read is shown no more."""
    assert headline(text) == short


@given(st.text(st.characters(codec="utf-8"), min_size=12, max_size=40), st.binary(max_size=5), st.binary(max_size=5))
def test_secret_is_found_at_any_place_of_base64(secret: str, before: bytes, after: bytes) -> None:
    """However a secret is aligned within something encoded, what could be decoded again is masked."""
    encoded = b64encode(before + secret.encode() + after).decode()

    assert "***" in Redactor([secret])(encoded)


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcdefghijklmnop1234",
        "sk-ant-api03-abcdefghijklmnop",
        "xai-abcdefghijklmnopqrstuv",
        "AIza" + "a" * 35,
        "AKIAABCDEFGHIJKLMNOP",
        "ghp_" + "a" * 36,
        "hf_" + "a" * 30,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "postgres-user:hunter22",
    ],
)
def test_what_looks_like_a_key_is_masked_unasked(key: str) -> None:
    """Keys that nobody has registered are known by their shape."""
    text = f"call to https://{key}@host failed" if ":" in key else f"Authorization: {key}, sent"

    assert key not in Redactor()(text)


def test_ordinary_text_is_left_alone() -> None:
    """Ids, hashes and prose are not taken for keys."""
    text = (
        "th_be5851b1cffac99c4e51 msg_1 4bf92f3577b34da6a3ce929d0e0e4736 task-list risk-averse http://h:80/x basic idea"
    )

    assert Redactor(["abc", ""])(text) == text
