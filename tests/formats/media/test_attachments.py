"""No image can become more tokens than are held for it: bounds against what vendors publish, case by case."""

import math
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from organism.formats.media.image_size import size_of_image
from organism.llm.requests import ChatMessage, CompletionRequest, ImagePart
from organism.providers.anthropic import AnthropicProvider
from organism.providers.openai import OpenAIProvider


def png(width: int, height: int) -> bytes:
    """Write the beginning of a PNG file."""
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"


def jpeg(width: int, height: int) -> bytes:
    """Write the beginning of a JPEG file: two segments to be passed over, a fill byte, a progressive frame."""
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return b"\xff\xd8\xff\xe0\0\x06\xff\xc0AB\xff\xc4\0\x03z\xff\xff\xc2\0\x11\x08" + size + b"\x03"


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + b"\0\0\0"


def webp(kind: bytes, body: bytes) -> bytes:
    return b"RIFF\0\0\0\0WEBP" + kind + b"\0\0\0\0" + body


def lossy(width: int, height: int) -> bytes:
    return webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + width.to_bytes(2, "little") + height.to_bytes(2, "little"))


def lossless(width: int, height: int) -> bytes:
    return webp(b"VP8L", b"\x2f" + (width - 1 | height - 1 << 14).to_bytes(4, "little"))


def extended(width: int, height: int) -> bytes:
    return webp(b"VP8X", b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"))


KINDS = [png, jpeg, gif, lossy, lossless, extended]


@pytest.mark.parametrize("write", KINDS)
@given(width=st.integers(1, 16_383), height=st.integers(1, 16_383))
def test_size_is_read_from_the_files_beginning(write: Callable[[int, int], bytes], width: int, height: int) -> None:
    """Every kind of picture that models take says its size before all else."""
    assert size_of_image(write(width, height)) == (width, height)


@pytest.mark.parametrize("write", KINDS)
def test_cut_or_strange_files_have_no_size(write: Callable[[int, int], bytes]) -> None:
    """A file that ends too early, or is of another kind, is held as the largest there is."""
    whole = write(300, 200)

    assert all(size_of_image(whole[:length]) in {None, (300, 200)} for length in range(len(whole)))
    assert [size_of_image(data) for data in (b"", b"BM", b"\xff\xd8", b"RIFF\0\0\0\0WEBPXXXX")] == [None] * 4


def bound(adapter: OpenAIProvider | AnthropicProvider, model: str, image: ImagePart) -> int:
    request = CompletionRequest(model=model, messages=(ChatMessage("user", (image,)),), max_output_tokens=1)
    return adapter.extra_tokens(request)


def openai(model: str, image: ImagePart, vendor: str = "openai") -> int:
    return bound(OpenAIProvider("p", "k", "http://127.0.0.1:1/v1", vendor=vendor), model, image)


def anthropic(image: ImagePart) -> int:
    return bound(AnthropicProvider("p", "k"), "claude-opus-5", image)


def patches(width: int, height: int, edge: int) -> int:
    return math.ceil(width / edge) * math.ceil(height / edge)


def published() -> Iterator[tuple[str, str, int, int, int]]:
    """Yield a model, a detail, a size and the tokens that OpenAI's guide names for it, at the dearest."""
    for size in ((1, 1), (1024, 1024), (1800, 2400), (4000, 3000)):
        square = patches(*size, 32)
        yield "gpt-5.6-luna", "auto", *size, math.ceil(square * 2.46)
        yield "gpt-6-astra", "auto", *size, math.ceil(square * 2.46)
        yield "gpt-5.5", "high", *size, math.ceil(min(square, 2500) * 1.2)
        yield "gpt-5.4-nano", "auto", *size, math.ceil(min(square, 1536) * 2.46)
        yield "gpt-5-nano", "auto", *size, math.ceil(min(square, 1536) * 2.46)
        yield "gpt-4.1-nano", "high", *size, math.ceil(min(square, 1536) * 2.46)
        yield "o4-mini", "auto", *size, math.ceil(min(square, 1536) * 1.72)
        # Where tiles are counted, small images are enlarged: 8 tiles at most.
        for model, base, tile in (
            ("gpt-4o", 85, 170),
            ("gpt-4o-2024-11-20", 85, 170),
            ("gpt-4o-mini", 2833, 5667),
            ("gpt-4.5-preview", 85, 170),
            ("gpt-5", 70, 140),
            ("gpt-5-chat-latest", 70, 140),
            ("o3", 75, 150),
            ("o1-pro", 75, 150),
            ("computer-use-preview", 65, 129),
            ("ft:gpt-4o-mini-2024-07-18:us::x", 2833, 5667),
        ):
            yield model, "high", *size, base + 8 * tile
            yield model, "low", *size, base


@pytest.mark.parametrize(("model", "detail", "width", "height", "tokens"), list(published()))
def test_openai_images_take_no_more_than_is_held(model: str, detail: str, width: int, height: int, tokens: int) -> None:
    """For each family of models and each detail, the hold is at least what the guide charges."""
    image = ImagePart("image/png", png(width, height), detail=detail)  # type: ignore[arg-type]
    somewhere = ImagePart(url="https://example.org/a.png", detail=detail)  # type: ignore[arg-type]

    assert openai(model, image) >= tokens
    assert openai(model, somewhere) >= openai(model, image)


def test_size_keeps_the_hold_small_where_it_counts() -> None:
    """A small image of a model that counts patches is not held as the largest one."""
    assert openai("gpt-5.6-luna", ImagePart("image/png", png(320, 320))) == 246
    assert openai("gpt-5.6-luna", ImagePart("image/png", png(9_000, 9_000))) == 73_800
    assert openai("gpt-5.6-luna", ImagePart("image/png", b"?")) == 73_800


def test_deployment_of_unknown_make_is_held_at_the_dearest() -> None:
    """At Azure a model is called what its user likes, which tells nothing of how images are counted there."""
    assert openai("our-model", ImagePart("image/png", png(1, 1)), "azure") == 73_800
    assert openai("our-model", ImagePart("image/png", png(1, 1), detail="high"), "azure") >= 2833 + 8 * 5667


@given(width=st.integers(1, 8000), height=st.integers(1, 8000))
def test_anthropic_images_take_no_more_than_is_held(width: int, height: int) -> None:
    """By the newer rule (28 x 28 pixels) and by the older (750), up to the largest that is not made smaller."""
    image = ImagePart("image/png", png(width, height))

    assert anthropic(image) >= min(4784, max(patches(width, height, 28), math.ceil(width * height / 750)))
    assert anthropic(image) <= anthropic(ImagePart(url="https://example.org/a.png")) == 4784


@given(width=st.integers(1, 3072), height=st.integers(1, 3072))
def test_gemini_images_take_no_more_than_is_held(width: int, height: int) -> None:
    """A tile's edge is two thirds of the shorter side, between 256 and 768 pixels, and each tile takes 258 tokens."""
    edge = min(768, max(256, math.floor(min(width, height) / 1.5)))

    held = openai("gemini-2.5-flash", ImagePart("image/png", png(width, height)), "gemini")

    assert held >= 258 * patches(width, height, edge)
    assert held >= 2240, "the most that Gemini 3 takes"
