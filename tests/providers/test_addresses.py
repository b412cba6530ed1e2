"""Addresses of servers as people paste them: understood, or refused with what to write instead."""

import pytest

from organism.providers.addresses import AddressError, Speaks, address_of, is_own

AZURE = "https://r.openai.azure.com"


@pytest.mark.parametrize(
    ("written", "speaks", "url"),
    [
        ("https://api.openai.com", "chat", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1", "chat", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1/", "chat", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com//v1//", "chat", "https://api.openai.com/v1/chat/completions"),
        (" https://api.openai.com/v1\n", "chat", "https://api.openai.com/v1/chat/completions"),
        ('"https://api.openai.com/v1"', "chat", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1/chat/completions", "chat", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1/chat/completions/", "chat", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1/models", "chat", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1/responses", "responses", "https://api.openai.com/v1/responses"),
        ("HTTPS://api.openai.com/v1", "chat", "https://api.openai.com/v1/chat/completions"),
        ("http://localhost:11434", "chat", "http://localhost:11434/v1/chat/completions"),
        ("http://[::1]:8000/v1", "chat", "http://[::1]:8000/v1/chat/completions"),
        ("https://api.groq.com", "chat", "https://api.groq.com/openai/v1/chat/completions"),
        ("https://api.groq.com/openai", "chat", "https://api.groq.com/openai/v1/chat/completions"),
        ("https://openrouter.ai", "chat", "https://openrouter.ai/api/v1/chat/completions"),
        ("https://openrouter.ai/api", "chat", "https://openrouter.ai/api/v1/chat/completions"),
        ("https://generativelanguage.googleapis.com/v1beta", "chat",
         "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions"),
        ("https://api.perplexity.ai", "chat", "https://api.perplexity.ai/chat/completions"),
        ("https://h/chat/completions", "chat", "https://h/chat/completions"),
        ("https://h/proxy/v2", "chat", "https://h/proxy/v2/chat/completions"),
        (f"{AZURE}/openai/deployments/d?api-version=2024-10-21", "chat",
         f"{AZURE}/openai/deployments/d/chat/completions?api-version=2024-10-21"),
        (f"{AZURE}/openai/deployments/d/chat/completions?api-version=2024-10-21", "chat",
         f"{AZURE}/openai/deployments/d/chat/completions?api-version=2024-10-21"),
        (AZURE, "chat", f"{AZURE}/openai/v1/chat/completions"),
        (f"{AZURE}/openai/v1/?api-version=preview", "responses", f"{AZURE}/openai/v1/responses?api-version=preview"),
        ("https://api.anthropic.com", "messages", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/", "messages", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1", "messages", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1/messages", "messages", "https://api.anthropic.com/v1/messages"),
        ("https://api.deepseek.com/anthropic", "messages", "https://api.deepseek.com/anthropic/v1/messages"),
        ("https://h/anthropic/v1/messages/", "messages", "https://h/anthropic/v1/messages"),
    ],
)  # fmt: skip
def test_address_is_understood_as_pasted(written: str, speaks: Speaks, url: str) -> None:
    """With or without a version, a slash, the endpoint, a query: the call goes where it was meant to go."""
    path = {"chat": "/chat/completions", "responses": "/responses", "messages": "/v1/messages"}[speaks]

    assert address_of(written, speaks).url(path) == url


@pytest.mark.parametrize(
    ("written", "speaks", "remedy"),
    [
        ("api.openai.com/v1", "chat", "https://"),
        ("localhost:11434", "chat", "http://"),
        ("", "chat", "write one such as"),
        ("https://h /v1", "chat", "no spaces"),
        ("https:///v1", "chat", "no address"),
        ("https://h:99999/v1", "chat", "no address"),
        ("ftp://h/v1", "chat", "no address"),
        ("https://user:password@h/v1", "chat", "api_key"),
        ("https://h/v1#x", "chat", "'#'"),
        ("https://h/v1/messages", "chat", "type: anthropic"),
        ("https://h/anthropic", "chat", "type: anthropic"),
        ("https://h/v1/chat/completions", "messages", "type: openai"),
        ("https://h/v1/responses", "chat", "api: responses"),
        ("https://h/v1/completions", "chat", "chat completions"),
    ],
)
def test_address_that_cannot_be_meant_is_refused_with_a_remedy(written: str, speaks: Speaks, remedy: str) -> None:
    """What no call could use is refused before the first, and a secret in it stays unsaid."""
    with pytest.raises(AddressError) as caught:
        address_of(written, speaks)

    assert remedy in str(caught.value)
    assert "password@" not in str(caught.value)


def test_vendors_own_address_is_its_own_however_it_is_pasted() -> None:
    """Prices, keys and rules of a vendor hold for its own address with any slash at its end, and for no other."""
    own = "https://api.openai.com/v1"

    assert all(
        is_own(each, "chat", own) for each in (own, f"{own}/", "https://api.openai.com", f"{own}/chat/completions")
    )
    assert not any(
        is_own(each, "chat", own) for each in ("http://api.openai.com/v1", "https://api.openai.com.evil/v1", "?")
    )
