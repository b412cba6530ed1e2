"""How many tokens images and files can become at most: as a provider publishes, or its user vouches for. Pure."""

import msgspec

from organism.errors import UnboundedError, UnsupportedError
from organism.formats.media.image_size import size_of_image
from organism.llm.embeddings import EmbeddingRequest
from organism.llm.provider import Request
from organism.llm.requests import FilePart, ImagePart

_FILE_NAME_TOKENS = 300
"""A file's name has at most 255 bytes, and a few words go around it."""


class ImageRule(msgspec.Struct, frozen=True, kw_only=True):
    """The most tokens of an image with some models, as their vendor publishes.

    Attributes:
        models: How the models' names begin; ``""`` is any other.
        most: Of the largest image that is taken.
        low: With detail ``low``, where that is less.
        high: With detail ``high``, where that is less.
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
        """Bound an image: by its size, if it is known and counts, and never above what the largest one takes."""
        if image.detail == "low" and self.low is not None:
            return self.low
        most = self.high if image.detail == "high" and self.high is not None else self.most
        size = size_of_image(image.data) if self.patch else None
        if size is None:
            return most
        patches = -(-size[0] // self.patch) * -(-size[1] // self.patch)
        return min(most, -(-patches * self.patch_permille // 1000))


class AttachmentBounds(msgspec.Struct, frozen=True, kw_only=True):
    """What the user of a provider vouches for, where nothing is published or less is known to do.

    Attributes:
        image_tokens: The most tokens of an image; ``None`` goes by what is published.
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
    """Bound what a request's input has beyond its texts; see :meth:`organism.llm.provider.Provider.extra_tokens`.

    Args:
        request: The request.
        provider: The provider's name in the configuration.
        bounds: What its user vouches for.
        published: What its vendor publishes of images; the first rule that fits the model holds.
        tool_tokens: The most tokens the provider adds of its own accord when there are tools or a form to keep.
        embeds: Whether it embeds texts.

    Raises:
        UnboundedError: Nothing bounds an image or a file of the request.
        UnsupportedError: It is to embed, and cannot.
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
    """Return what a file of plain text is sent as: text, which every provider reads; ``None`` for any other."""
    if not piece.media_type.startswith("text/") or piece.url:
        return None
    return f"[file {piece.name[:255]}]\n{piece.data.decode('utf-8', 'replace')}"
