"""What a replay is given beside the ledger: what is to be otherwise, and how the organism is set up. Pure."""

from collections.abc import Collection, Mapping
from datetime import date

import msgspec

from organism.amounts import Dimension, Limits
from organism.amounts.account import Account
from organism.amounts.units import UNITS
from organism.budget.holds import Mode
from organism.budget.scopes import BudgetPlan
from organism.budget.thresholds import DEFAULT_THRESHOLDS
from organism.errors import ConfigError
from organism.pricing.book import Override, ProviderPrices
from organism.router.planning.plan import ModelPlan

EVERY_MODEL = "*"


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be otherwise than it was recorded.

    Attributes:
        mode: What a reached limit does. In ``audit`` every recorded call is made, and those over a limit are named.
        limits: The thread's own ceilings, each in its integer unit; ``None`` lifts one, what is left out stays.
        accounts: Limits of other scopes, likewise, by the name of an account: ``label:tenant=acme@day:2026-11-24``, of
            all days (``label:tenant=acme@day``), or whatever it is counted over (``label:tenant=acme``).
        models: What takes the place of a model: one of the configuration, or ``provider/model``. A model that was
            used is named as in the configuration, as its provider calls it, or as ``provider/model``;
            :data:`EVERY_MODEL` means all.
        prices: Prices that win over the recorded ones, by ``provider/model`` or model.
        day: The day whose prices hold for every call, in UTC.
    """

    mode: Mode = "audit"
    limits: Mapping[Dimension, int | None] = {}
    accounts: Mapping[str, Mapping[Dimension, int | None]] = {}
    models: Mapping[str, str] = {}
    prices: Mapping[str, Override] = {}
    day: date | None = None

    def limits_of(self, account: str, own: str) -> Mapping[Dimension, int | None]:
        """Return the changed limits of an account; empty where it keeps its own.

        Args:
            own: The account of the thread that is replayed.
        """
        if account == own:
            return self.limits
        return next((limits for name, limits in self.accounts.items() if name in _names_of(account)), {})

    def applied(self, account: str, own: str, limits: Limits) -> Limits:
        """Return an account's limits with the changed ones in their place."""
        changed = self.limits_of(account, own)
        return msgspec.structs.replace(
            limits, **{UNITS[dimension].limit: limit for dimension, limit in changed.items()}
        )

    def check(self, accounts: Collection[str]) -> None:
        """Refuse limits of a scope on which no call was held: what others have spent there is not recorded.

        Raises:
            ConfigError: If there is one.
        """
        known = {name for account in accounts for name in _names_of(account)}
        for name in self.accounts:
            if name not in known:
                there = ", ".join(sorted(accounts)) or "none"
                raise ConfigError(f"no call of the thread was held on {name!r}; there are: {there}", path="limits")


def _names_of(account: str) -> tuple[str, str, str]:
    parsed = Account.parse(account)
    scope = f"{parsed.kind}:{parsed.name}" if parsed.name else parsed.kind
    return account, f"{scope}@{parsed.per}", scope


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """How the organism is set up, as far as its ledger does not tell.

    Attributes:
        prices: What models cost.
        plan: Limits of models and providers that a call may move to, the slice for a last call, the time zone.
        models: How the models of the configuration are routed, and what takes their place when budgets run low.
        thresholds: Per cent of a limit at which to warn, ascending.
        output_min: The shortest answer worth a call, in tokens.
        wait_s: Seconds a call waits for its siblings' holds.
        parks: Whether a refused message waits for a higher limit; else its handler gets the error.
        refuse_unpriced: Whether a limit in USD that is enforced refuses models without a price.
    """

    prices: ProviderPrices
    plan: BudgetPlan = BudgetPlan()
    models: Mapping[str, ModelPlan] = {}
    thresholds: tuple[int, ...] = DEFAULT_THRESHOLDS
    output_min: int = 16
    wait_s: float = 30.0
    parks: bool = True
    refuse_unpriced: bool = True
