"""How much input an attempt is held for, on the route where it goes."""

from organism.llm.requests import ChatMessage, CompletionRequest, ImagePart
from organism.providers.openai import OpenAIProvider
from organism.router.planning.estimator import InputEstimator
from organism.router.planning.plan import Route

OPENAI = InputEstimator("strict", {"openai": OpenAIProvider("openai", "k")})


def pictured(model: str) -> CompletionRequest:
    image = ImagePart("image/png", b"\x89PNG")
    return CompletionRequest(model=model, messages=(ChatMessage("user", (image,)),), max_output_tokens=10)


def test_an_image_is_bounded_by_the_model_that_reads_it() -> None:
    """Vendors publish bounds by their own names; the name that a caller gives a model says nothing of them."""
    small, mini = Route("openai", "gpt-4o"), Route("openai", "gpt-4o-mini")

    for named in ("", "main", "gpt-4o", "gpt-4o-mini"):
        assert 1_445 <= OPENAI.estimate(small, pictured(named)).tokens < 2_000, named
        assert 48_169 <= OPENAI.estimate(mini, pictured(named)).tokens < 49_000, named
