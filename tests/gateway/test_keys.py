"""Who calls the gateway: a key of the file is known whatever else a client presents, and wherever tokens are kept."""

from hashlib import sha256

import pytest

from organism.api.tokens.token_book import Caller
from organism.api.tokens.token_errors import TokensAwayError
from organism.gateway.keys import authenticate
from organism.gateway.settings import Key


def key_of(hashed: str) -> Key | None:
    return Key(name="ci", sha256=hashed) if hashed == sha256(b"configured").hexdigest() else None


def away(_secret: str) -> Caller | None:
    raise TokensAwayError


def test_key_of_the_file_goes_on_where_tokens_are_away() -> None:
    """Clients send what is left in two variables, and one may be a token; only where no key is said is nobody known."""
    find = authenticate(key_of, away)
    for headers in (
        {"x-api-key": "configured"},
        {"authorization": "Bearer a-token", "x-api-key": "configured"},
        {"authorization": "Bearer configured", "x-api-key": "a-token"},
    ):
        caller = find(headers)
        assert caller is not None
        assert caller.name == "key:ci"
    with pytest.raises(TokensAwayError, match="kept in the cluster's database"):
        find({"authorization": "Bearer a-token"})
    assert find({}) is None
