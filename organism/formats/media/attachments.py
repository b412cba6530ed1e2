"""Bounds on the tokens of images and files: published by vendors, or vouched for by the user. Pure."""

import msgspec

from organism.errors import UnboundedError, UnsupportedError
from organism.formats.media.image_size import size_of_image
from organism.llm.embeddings import EmbeddingRequest
from organism.llm.provider import Request
from organism.llm.requests import FilePart, ImagePart

_FILE_NAME_TOKENS = 300
"""A file's name has at most 255 bytes, plus a few words around it."""


class ImageRule(msgspec.Struct, frozen=True, kw_only=True):
    """The published bound on the tokens of an image, for some models.

    Attributes:
        models: The prefix of the models' names; ``""`` matches any.
        most: The most tokens of any image.
        low: The most with detail ``low``, where that is less.
        high: The most with detail ``high``, where that is less.
        patch: The edge in pixels of the squares that are counted; 0 where size does not matter, or images are enlarged.
        patch_permille: Thousandths of a token for each of them.
    """

    models: str = ""
    most: int
    low: int | None = None
    high: int | None = None
    patch: int = 0
    patch_permille: int = 1000

    def tokens(self, image: ImagePart) -> int:
        """Return the most tokens of an image, by its size where that is known and counts."""
        if image.detail == "low" and self.low is not None:
            return self.low
        most = self.high if image.detail == "high" and self.high is not None else self.most
        size = size_of_image(image.data) if self.patch else None
        if size is None:
            return most
        patches = -(-size[0] // self.patch) * -(-size[1] // self.patch)
        return min(most, -(-patches * self.patch_permille // 1000))


class AttachmentBounds(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds that the user of a provider vouches for, where none or larger ones are published.

    Attributes:
        image_tokens: The most tokens of an image; ``None`` uses the published bound.
        file_tokens: The most tokens of a file that is not plain text; ``None`` refuses such files.
    """

    image_tokens: int | None = None
    file_tokens: int | None = None


def extra_tokens(
    request: Request,
    provider: str,
    bounds: AttachmentBounds,
    published: tuple[ImageRule, ...] = (),
    tool_tokens: int = 0,
    *,
    embeds: bool = True,
) -> int:
    """Return the most tokens of input beyond a request's texts; see :meth:`.Provider.extra_tokens`.

    Args:
        request: The request.
        provider: The provider's name in the configuration.
        bounds: The user's bounds.
        published: The vendor's bounds on images; the first rule that fits the model holds.
        tool_tokens: The most tokens that the provider adds for tools or a response format.
        embeds: Whether the provider serves embeddings.

    Raises:
        UnboundedError: Nothing bounds an image or a file of the request.
        UnsupportedError: The request is for embeddings, which the provider does not serve.
    """
    if isinstance(request, EmbeddingRequest):
        if not embeds:
            raise UnsupportedError(provider, request.operation)
        return request.tokens
    has_tools = request.tools or request.vendor_tools
    total = tool_tokens if has_tools or request.response_format is not None else 0
    for piece in request.attachments():
        match piece:
            case ImagePart():
                rule = next((rule for rule in published if request.model.startswith(rule.models)), None)
                most = rule.tokens(piece) if rule is not None else None
                most = most if bounds.image_tokens is None else bounds.image_tokens
                remedy = "set 'image_tokens' of the provider"
            case FilePart() if (words := file_text(piece)) is not None:
                most, remedy = len(words.encode("utf-8", "replace")) + _FILE_NAME_TOKENS, ""
            case FilePart():
                most, remedy = bounds.file_tokens, "set 'file_tokens' of the provider, or send text"
        if most is None:
            what = "an image" if isinstance(piece, ImagePart) else f"a file of type {piece.media_type!r}"
            raise UnboundedError(provider, what, remedy)
        total += most
    return total


def file_text(piece: FilePart) -> str | None:
    """Return the text as which a plain text file is sent; ``None`` for any other file."""
    if not piece.media_type.startswith("text/") or piece.url:
        return None
    return f"[file {piece.name[:255]}]\n{piece.data.decode('utf-8', 'replace')}"
