"""Takes secrets out of finished text: known ones in any usual encoding, and what looks like a key. Pure.

It works on the finished text, after formatting, so it does not matter whether a secret came in a field, in an error's
message or in a traceback.

Which texts are secret is a fact of the process, like its environment: code that reads a key calls :func:`remember`, and
every border at which an error text enters or leaves the runtime calls :func:`redact`. No collaborator has to hand a
redactor on, so none can forget to.
"""

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator

MASK = "***"

LENGTH_MIN = 8
"""Characters. A shorter secret ("test", "none", "key1") is an ordinary word as often as not: masking it everywhere
would blank what people need to read. It is masked only where it stands as a credential, behind ``Bearer`` or
``api_key=`` and the like."""

_SHAPES = tuple(
    (mark, re.compile(shape, re.DOTALL))
    for mark, shape in (
        ("sk-", r"\bsk-[A-Za-z0-9_-]{16,}"),  # OpenAI, Anthropic, OpenRouter
        *((mark, rf"\b{mark}[A-Za-z0-9]{{20,}}") for mark in ("xai-", "gsk_", "hf_", "r8_", "pplx-")),
        ("AIza", r"\bAIza[A-Za-z0-9_-]{35}"),  # Google
        *((mark, rf"\b{mark}[A-Z0-9]{{16}}\b") for mark in ("AKIA", "ASIA")),  # AWS
        ("gh", r"\bgh[pousr]_[A-Za-z0-9_-]{16,}"),  # GitHub
        *((mark, rf"\b{mark}[A-Za-z0-9_-]{{16,}}") for mark in ("github_pat_", "glpat-")),
        ("xox", r"\bxox[abprs]-[A-Za-z0-9_-]{16,}"),  # Slack
        ("eyJ", r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}"),  # JSON Web Tokens
        ("PRIVATE KEY", r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----"),
        ("earer ", r"(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{8,}"),
        ("asic ", r"(?<=[Bb]asic )[A-Za-z0-9+/=]{8,}"),
        ("://", r"(?<=://)[^/\s:@'\"]+:[^/\s@'\"]+(?=@)"),  # a URL's user and password
    )
)
"""What looks like a key, each with characters that it has: a text without these need not be searched for it."""
_AS_CREDENTIAL = r"(?i:bearer|basic|key|token|secret|password|authorization)\W{1,4}"
_BACKSLASHED = frozenset("\\\"'/")
"""Characters that are written with a backslash before them, here or there."""

_NAMED = {
    "&": "&(?:amp;)+",
    "<": "&(?:amp;)*lt;",
    ">": "&(?:amp;)*gt;",
    '"': "&(?:amp;)*quot;",
    "'": "&(?:amp;)*apos;",
    " ": r"\+",
    "\t": r"\\+t",
    "\n": r"\\+n",
    "\r": r"\\+r",
}
"""Other writings of single characters."""

_ESCAPES = tuple("\\%&+")
"""A text without any of these holds nothing in another writing than its own, but in base64 and hexadecimal."""

_MUCH_MIN = 12
"""So many first characters of a secret, and half of it, are as good as the secret: somebody has cut it and gone on."""

_TRUNCATED_MIN = 6
"""So many first characters of a secret, at the very end of a text, are a secret that was cut off there."""


class Redactor:
    """Replaces secrets by ``***``.

    Args:
        secrets: Texts known to be secret.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._forms: tuple[str, ...] = ()
        self._escaped: tuple[re.Pattern[str], ...] | None = ()
        self._short: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Know more texts as secret; white space around them, such as a file's last line break, is none of it."""
        fresh = {stripped for secret in secrets if (stripped := secret.strip().strip("\ufeff"))} - self._secrets
        if not fresh:
            return
        self._secrets |= fresh
        long = [secret for secret in self._secrets if len(secret) >= LENGTH_MIN]
        forms = {form for secret in long for form in (*_forms(secret), *_numbers(secret))}
        # The longest first: a secret may be part of another.
        self._forms = tuple(sorted(forms, key=len, reverse=True))
        self._escaped = None  # made when a text needs them: that takes longer than all else of a start
        short = sorted(self._secrets.difference(long), key=len, reverse=True)
        self._short = (
            re.compile(f"({_AS_CREDENTIAL})(?:{'|'.join(map(re.escape, short))})(?![A-Za-z0-9])") if short else None
        )

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        if any(mark in text for mark in _ESCAPES):
            if self._escaped is None:
                self._escaped = self._patterns()
            for pattern in self._escaped:
                text = pattern.sub(MASK, text)
        if self._short is not None:
            text = self._short.sub(rf"\1{MASK}", text)
        text = self._without_beginnings(text)
        for mark, shape in _SHAPES:
            if mark in text:
                text = shape.sub(MASK, text)
        return text

    def _patterns(self) -> tuple[re.Pattern[str], ...]:
        forms = {form for secret in self._secrets if len(secret) >= LENGTH_MIN for form in _forms(secret)}
        # Encoders leave letters and digits as they are, so a text of these alone needs no pattern.
        special = sorted((form for form in forms if not (form.isascii() and form.isalnum())), key=len, reverse=True)
        return tuple(re.compile("".join(map(_writings, form))) for form in special)

    def _without_beginnings(self, text: str) -> str:
        """Mask what is the beginning of a secret: at the end of a text, which was cut there, or much of it anywhere."""
        for secret in self._secrets:
            if len(secret) < LENGTH_MIN:
                continue
            much = secret[: max(_MUCH_MIN, len(secret) // 2)]
            while len(much) < len(secret) and (first := text.find(much)) >= 0:
                end = first + next(
                    (
                        place
                        for place, (one, other) in enumerate(zip(text[first:], secret, strict=False))
                        if one != other
                    ),
                    min(len(text) - first, len(secret)),
                )
                text = text[:first] + MASK + text[end:]
            first = text.rfind(secret[:_TRUNCATED_MIN], -len(secret))
            if first >= 0 and secret.startswith(text[first:]):
                text = text[:first] + MASK
        return text


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it may stand in text: plain, in base64 at any place of a longer text."""
    yield secret
    raw = secret.encode("utf-8", "surrogatepass")
    for shift in range(3):
        for encode in (b64encode, urlsafe_b64encode):
            text = encode(b"\0" * shift + raw).decode()
            # Characters that hold bits of what stands before or behind are left out.
            yield text[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]


def _numbers(secret: str) -> Iterator[str]:
    """Yield a secret with every character written as a number."""
    raw = secret.encode("utf-8", "surrogatepass")
    for pattern in ("{:02x}", "{:02X}", "%{:02x}", "%{:02X}", "\\x{:02x}", "\\x{:02X}"):
        yield "".join(map(pattern.format, raw))
    for pattern in ("\\u{:04x}", "\\u{:04X}"):
        yield "".join(pattern.format(unit) for character in secret for unit in _units(character))


def _writings(character: str) -> str:
    """Return a pattern of every way to write a character: plain, for JSON, Python, a URL, HTML; escaped again or not.

    By character and not by text, because encoders differ in which characters they leave as they are.
    """
    if character.isascii() and character.isalnum():
        return character
    code = ord(character)
    raw = character.encode("utf-8", "surrogatepass")
    choices = [
        re.escape(character),
        "".join(rf"\\+u{unit:04x}" for unit in _units(character)),
        "".join(rf"%(?:25)*{byte:02x}" for byte in raw),
        "".join(rf"\\+x{byte:02x}" for byte in raw),
        f"&(?:amp;)*#(?:0*{code}|x0*{code:x});",
    ]
    if code in range(0x80, 0x100):
        choices.append(rf"\\+x{code:02x}")
    if character in _NAMED:
        choices.append(_NAMED[character])
    # The character itself is case-sensitive; the letters of its hexadecimal number are not.
    backslashes = r"\\*" if character in _BACKSLASHED else ""
    return f"{backslashes}(?:{choices[0]}|(?i:{'|'.join(choices[1:])}))"


def _units(character: str) -> list[int]:
    """Return the UTF-16 code units of a character, as JSON writes it."""
    raw = character.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(raw[place : place + 2], "big") for place in range(0, len(raw), 2)]


_known = Redactor()


def remember(*secrets: str) -> None:
    """Know texts as secret in this process from now on."""
    _known.learn(secrets)


def redact(text: str) -> str:
    """Return a text without the secrets of this process, and without what looks like one."""
    return _known(text)


def headline(text: str) -> str:
    """Return the part of an error's text that is in our own words: what comes before the first colon.

    What follows may quote a message or a prompt: ``ValueError: cannot parse 'my diagnosis is ...'``. Log lines and
    answers to callers who may only ``read`` show the headline; who may ``operate`` sees all of it.
    """
    return text.partition(": ")[0]
