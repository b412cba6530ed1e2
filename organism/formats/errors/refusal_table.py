"""The table of what a provider's words and statuses mean. Pure.

Sources: the error references of OpenAI, Anthropic, Google, Azure, AWS Bedrock, Mistral, Groq, xAI, OpenRouter and
Cloudflare; Envoy's and nginx's own pages. ``docs/PROVIDERS.md`` has the table for readers.
"""

import re

import msgspec

from organism.errors import Meaning
from organism.formats.errors.error_words import ErrorWords


class RefusalRule(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table.

    Attributes:
        meaning: What the words mean; ``None``: the work may have been done.
        codes: Error codes, in lower case.
        phrases: A pattern of the words for people.
        of_request: Whether it applies to statuses of a wrong request (400, 413, 422), which often quote the request.
    """

    meaning: Meaning | None
    codes: frozenset[str] = frozenset()
    phrases: re.Pattern[str] | None = None
    of_request: bool = False

    def fits(self, words: ErrorWords) -> bool:
        """Whether an error's words fit this row."""
        return not self.codes.isdisjoint(words.codes) or (
            self.phrases is not None and self.phrases.search(words.text) is not None
        )


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


RULES: tuple[RefusalRule, ...] = (
    # A proxy says that the server took the request and then fell silent: it may have done the work.
    RefusalRule(
        meaning=None,
        phrases=_phrases(
            r"reset reason: (?:connection termination|remote reset|protocol error)",
            r"upstream (?:request|response) timeout",
            r"upstream prematurely closed",
            r"stream timeout",
        ),
    ),
    RefusalRule(
        meaning="context",
        of_request=True,
        codes=_codes(
            "context_length_exceeded context_window_exceeded exceed_context_size_error max_tokens_exceeded "
            "token_limit_exceeded request_too_large string_above_max_length model_context_window_exceeded"
        ),
        phrases=_phrases(
            r"context (?:length|window|size|limit)",
            r"maximum context",
            r"(?:prompt|input|request) is too (?:long|large)",
            r"request too large",
            r"too many (?:input |total |prompt )?tokens",
            r"maximum (?:prompt|input) length",
            r"token count[^.]{0,60}exceeds",
            r"exceeds? [^.]{0,60}(?:number of tokens|token limit|tokens allowed)",
            r"reduce the length",
        ),
    ),
    RefusalRule(
        meaning="policy",
        of_request=True,
        codes=_codes(
            "content_policy_violation content_filter content_policy responsibleaipolicyviolation moderation_blocked "
            "data_inspection_failed prohibited_content sensitive_content cyber_policy_violation safety "
            "input_moderation invalid_prompt"
        ),
        phrases=_phrases(
            r"content (?:management |filtering )?polic",
            r"usage polic",
            r"was flagged",
            r"flagged by",
            r"moderation",
            r"safety (?:system|polic|filter|check)",
            r"violat\w+ [^.]{0,40}(?:polic|terms|guidelines)",
        ),
    ),
    RefusalRule(
        meaning="address",
        phrases=_phrases(
            r"invalid url",
            r"unknown request url",
            r"unrecognized request url",
            r"cannot post",
            r"(?:url|path|route|endpoint) (?:was )?not found",
            r"no route",
            r"unknown endpoint",
            r"not found on this server",
        ),
    ),
    RefusalRule(
        meaning="model",
        of_request=True,
        codes=_codes(
            "model_not_found model_not_available model_decommissioned model_not_supported model_terms_required "
            "invalid_model unknown_model deploymentnotfound not_found_error resourcenotfoundexception "
            "unsupported_model model_permission_blocked_org model_permission_blocked_project model_deprecated"
        ),
        phrases=_phrases(
            r"models?\b.{0,120}(?:does not exist|doesn't exist|not exist|not found|decommissioned|deprecated|retired"
            r"|no longer (?:available|supported)|(?:is not|isn't) (?:available|supported|accessible|enabled"
            r"|a valid model)"
            r"|has been (?:removed|shut down|retired))",
            r"(?:unknown|invalid|no such|unsupported) model",
            r"no endpoints found",
            r"access to (?:the )?model",
            r"deployment\b.{0,60} (?:does not exist|not found)",
        ),
    ),
    RefusalRule(
        meaning="rate",
        codes=_codes(
            "rate_limit_exceeded rate_limit_error rate_limited ratelimitreached too_many_requests throttlingexception "
            "throttling resource_exhausted requests_limit_exceeded tokens_limit_exceeded rate_limit ratelimiterror "
            "toomanyrequestsexception engine_overloaded_error_rate"
        ),
    ),
    RefusalRule(
        meaning="credit",
        of_request=True,
        codes=_codes(
            "insufficient_quota billing_error billing_hard_limit_reached billing_not_active insufficient_credits "
            "insufficient_balance payment_required exceeded_current_quota_error arrearage insufficient_funds "
            "enforced_spend_limit_reached quota_exceeded free_tier_exhausted budget_exceeded "
            "servicequotaexceededexception"
        ),
        phrases=_phrases(
            r"credit balance",
            r"insufficient (?:account )?(?:balance|credit|fund|quota)",
            r"out of credit",
            r"(?:no|not enough|more|purchase|remaining) credits?\b",
            r"billing (?:hard )?limit",
            r"spend(?:ing)? limit",
            r"payment required",
            r"your current quota",
            r"included credits",
            r"(?:account|billing) (?:is )?not active",
            r"in arrears",
            r"usage limits? (?:has|have) been reached",
            r"specified api usage limits",
        ),
    ),
    RefusalRule(
        meaning="key",
        of_request=True,
        codes=_codes(
            "invalid_api_key authentication_error api_key_invalid unauthenticated invalid_authentication "
            "invalid_authentication_error incorrect_api_key_error account_deactivated access_terminated "
            "accessdeniedexception unrecognizedclientexception expiredtokenexception invalidsignatureexception "
            "missingauthenticationtokenexception missing_api_key key_disabled permission_denied permission_error "
            "unsupported_country_region_territory invalid_organization organization_disabled forbidden unauthorized "
            "invalid_token token_expired authenticationerror failed_precondition"
        ),
        phrases=_phrases(
            r"(?:invalid|incorrect|expired|disabled|revoked|wrong|missing|bad|no) (?:api |access |auth\w* )?"
            r"(?:key|token|credentials?)\b",
            r"api key (?:not valid|is (?:invalid|disabled|expired)|not found|expired|has been|must|was)",
            r"x-api-key",
            r"organization has been (?:disabled|deactivated)",
            r"account (?:has been|is) "
            r"(?:deactivated|suspended|disabled|terminated)",
            r"not authenticated",
            r"unauthori[sz]ed",
            r"no auth",
            r"(?:country|region|location)\b.{0,40}not supported",
        ),
    ),
    RefusalRule(
        meaning="overloaded",
        codes=_codes(
            "overloaded_error overloaded unavailable service_unavailable serviceunavailableexception server_busy "
            "serverbusy modelnotreadyexception engine_overloaded engine_overloaded_error capacity_exceeded no_capacity "
            "flex_capacity_exceeded service_tier_capacity_exceeded server_overloaded system_busy modelstreamloading"
        ),
        phrases=_phrases(
            r"overload",
            r"(?:at|no|insufficient|out of|lack of) (?:available )?capacity",
            r"capacity [\w ]{0,20}exceeded",
            r"high (?:demand|load|traffic)",
            r"(?:is|still|currently) loading",
            r"(?:temporar\w+|currently|service) unavailable",
            r"no healthy upstream",
            r"no live upstream",
            r"no (?:available|healthy) (?:server|backend|instance|worker|provider"
            r"|model provider|channel)",
            r"too busy|server (?:is )?busy",
            r"reset reason: (?:connection (?:failure|timeout)|overflow)",
            r"connection refused",
            r"delayed connect error",
            r"name resolution|dns (?:error|failure)",
            r"no instances? (?:is |are )?(?:available|running)",
            r"(?:under|scheduled|down for) maintenance",
        ),
    ),
    RefusalRule(
        meaning="rate",
        phrases=_phrases(
            r"rate[ -]?limit",
            r"too many (?:concurrent )?requests",
            r"throttl",
            r"(?:requests|tokens) per (?:second|minute|hour|day)",
            r"quota",
            r"try again (?:in|after) \d",
            r"concurren\w+ limit",
            r"(?:request|qps) limit reached",
        ),
    ),
)
"""Rows in the order in which they are tried. A limit's own code comes before the words about quotas and billing, which
Google writes beside it; an empty account's code comes before words about limits, which OpenAI writes beside that."""

STATUSES: dict[int, Meaning | None] = {
    401: "key", 402: "credit", 403: "key", 404: "address", 405: "address", 407: "key", 410: "model", 413: "context",
    421: "address", 426: "address", 501: "request", 505: "request",
    409: "overloaded", 420: "rate", 423: "overloaded", 425: "overloaded", 429: "rate", 498: "overloaded",
    503: "overloaded", 529: "overloaded",
    # Cloudflare before a server: not reached (521, 522, 523, 530), no TLS with it (525, 526).
    521: "overloaded", 522: "overloaded", 523: "overloaded", 525: "overloaded", 526: "overloaded", 530: "overloaded",
    # Somebody gave up waiting for a server that may have been at work, or cannot say what came back from it.
    408: None, 460: None, 499: None, 502: None, 504: None, 520: None, 524: None, 598: None, 599: None,
}  # fmt: skip
"""What a status means when the words do not say. The rest: 3xx ``address``; other 4xx ``request``; other 5xx
``failed`` if the server says anything at all, or when it wants to be asked again, and else uncertain."""
