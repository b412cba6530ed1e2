"""A gateway for one program: on this machine alone, with one key, whose calls are all paid by one thread."""

import secrets
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec.structs import replace

from organism.amounts import NANOUSD_PER_USD, NS_PER_S
from organism.config.consistency import THREAD_TOKENS
from organism.config.load import LoadedConfig
from organism.config.schema.gateway import GatewayKeySection, GatewaySection
from organism.config.schema.limits import ThreadLimitsSection
from organism.config.schema.llm import ModelSection, PriceSection
from organism.config.schema.root import Config
from organism.errors import ConfigError
from organism.ids import USER

_HOST = "127.0.0.1"


class Purse(msgspec.Struct, frozen=True, kw_only=True):
    """What a program spends, as whom, and from where.

    Attributes:
        program: As whom it spends, in the place of an agent.
        thread_id: The thread that pays.
        key: The key of its gateway.
        limits: Its budget, by the name of the field in :class:`~organism.amounts.Limits`; empty for what is configured.
        labels: Of its thread.
        text: Whether answers carry a line about thresholds.
        model: What answers a name that the configuration does not have; ``None`` for nothing.
        price: What a model without a known price is taken to cost.
    """

    program: str
    thread_id: str
    limits: Mapping[str, int]
    labels: dict[str, str]
    text: bool = False
    model: str | None = None
    price: PriceSection | None = None
    key: str = msgspec.field(default_factory=lambda: f"sk-organism-{secrets.token_urlsafe(32)}")


def with_gateway(loaded: LoadedConfig, purse: Purse) -> LoadedConfig:
    """Return a configuration whose gateway serves one program, by its own models and never above its own limits.

    Args:
        loaded: The configuration.
        purse: The program's key and budget.

    Raises:
        ConfigError: If there is no model of the name that is to answer.
    """
    config = loaded.config
    gateway = config.gateway or GatewaySection()
    limits = purse.limits
    key = GatewayKeySection(
        sha256=sha256(purse.key.encode()).hexdigest(),
        thread=purse.thread_id,
        fixed=True,
        limits=_section(limits) if limits else None,
        labels=purse.labels,
    )
    if limits and gateway.limits is None and not any(path in loaded.places for path in THREAD_TOKENS):
        # The tokens that a thread has by default, and nobody has written down, do not end a budget of another unit.
        gateway = replace(gateway, limits=replace(config.limits.thread, tokens="unlimited"))
    taken = purse.program in config.agents or purse.program == USER
    keys = {f"{purse.program}-program" if taken else purse.program: key}
    gateway = replace(gateway, tokens=False, keys=keys, warn="text" if purse.text else gateway.warn)
    if purse.model is not None:
        config = replace(config, llm=replace(config.llm, models=config.llm.models | {"*": _model(config, purse.model)}))
        gateway = replace(gateway, models=[])
    if purse.price is not None:
        config = replace(config, llm=replace(config.llm, unpriced=purse.price))
    daemon = replace(config.daemon, host=_HOST, port=0)
    return replace(loaded, config=replace(config, gateway=gateway, daemon=daemon))


def _section(limits: Mapping[str, int]) -> ThreadLimitsSection:
    usd, seconds = limits.get("cost_nanousd"), limits.get("elapsed_ns")
    return ThreadLimitsSection(
        tokens=limits.get("tokens"),
        calls=limits.get("calls"),
        usd=None if usd is None else Decimal(usd) / NANOUSD_PER_USD,
        seconds=None if seconds is None else Decimal(seconds) / NS_PER_S,
    )


def _model(config: Config, name: str) -> str | ModelSection:
    """Return how the model is served that answers whatever is asked for: one of the file, or one of its providers'."""
    if name in config.llm.models and not name.endswith("*"):
        return config.llm.models[name]
    if "*" not in name and name.partition("/")[0] in config.llm.providers:
        return name
    known = ", ".join(config.llm.models) or "none"
    raise ConfigError(f"--model: no model is called {name!r}; there are: {known}; or write provider/model")


def read_price(written: str) -> PriceSection:
    """Read ``INPUT,OUTPUT`` in dollars per million tokens, such as ``1.25,10``.

    Raises:
        ConfigError: If it is written differently.
    """
    try:
        dollars = [Decimal(part) for part in written.split(",")]
        if len(dollars) != len(("input", "output")) or not all(each.is_finite() and each >= 0 for each in dollars):
            raise InvalidOperation
    except InvalidOperation:
        raise ConfigError(f"--price: write dollars per million tokens as INPUT,OUTPUT, such as 1.25,10, not {written!r}"
                          ) from None  # fmt: skip
    return PriceSection(input=dollars[0], output=dollars[1])


def program_name(command: str) -> str:
    """Return as whom a program spends: its file's name, as far as an agent may be called so."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in Path(command).stem)
    return plain.lstrip("-0123456789")[:48] or "program"
