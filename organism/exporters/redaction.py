"""Takes secrets out of finished text: known ones in any usual encoding, and what looks like a key. Pure.

It works on the finished text, after formatting, so it does not matter whether a secret came in a field, in an error's
message or in a traceback.
"""

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

MASK = "***"

_LENGTH_MIN = 4
"""Shorter secrets would mask half of what is written."""

_BASE64_LENGTH_MIN = 8

_KEY_SHAPES = (
    r"\bsk-[A-Za-z0-9_-]{16,}",  # OpenAI, Anthropic, OpenRouter
    r"\b(?:xai-|gsk_|hf_|r8_|pplx-)[A-Za-z0-9]{20,}",  # xAI, Groq, Hugging Face, Replicate, Perplexity
    r"\bAIza[A-Za-z0-9_-]{35}",  # Google
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",  # AWS
    r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-)[A-Za-z0-9_-]{16,}",  # GitHub, GitLab, Slack
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}",  # JSON Web Tokens
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----",
    r"(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{8,}",
    r"(?<=[Bb]asic )[A-Za-z0-9+/=]{8,}",
    r"(?<=://)[^/\s:@'\"]+:[^/\s@'\"]+(?=@)",  # a URL's user and password
)


class Redactor:
    """Replaces secrets by ``***``.

    Args:
        secrets: Texts known to be secret; very short ones are left alone.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {form for secret in secrets if len(secret) >= _LENGTH_MIN for form in _forms(secret)}
        # The longest first: a secret may be part of another.
        patterns = [re.escape(form) for form in sorted(known, key=len, reverse=True)]
        self._pattern = re.compile("|".join((*patterns, *_KEY_SHAPES)), re.DOTALL)

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        return self._pattern.sub(MASK, text)


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it may stand in text: plain, escaped, for a URL, in base64 at any place of a longer text."""
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield quote(secret)
    yield quote(secret, safe="")
    yield quote_plus(secret)
    raw = secret.encode()
    if len(raw) < _BASE64_LENGTH_MIN:
        return
    for shift in range(3):
        for encode in (b64encode, urlsafe_b64encode):
            text = encode(b"\0" * shift + raw).decode()
            # Characters that hold bits of what stands before or behind are left out.
            yield text[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]
