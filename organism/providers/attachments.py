"""How many tokens images and files can become at most: as a provider publishes, or its user vouches for. Pure."""

import msgspec

from organism.errors import UnboundedError, UnsupportedError
from organism.router.embedding import EmbeddingRequest
from organism.router.provider import FilePart, ImagePart, Request

_FILE_NAME_TOKENS = 300
"""A file's name has at most 255 bytes, and a few words go around it."""


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
    published: tuple[tuple[str, int], ...] = (),
    tool_tokens: int = 0,
    *,
    embeds: bool = True,
) -> int:
    """Bound what a request's input has beyond its texts; see :meth:`organism.router.provider.Provider.extra_tokens`.

    Args:
        request: The request.
        provider: The provider's name in the configuration.
        bounds: What its user vouches for.
        published: The most tokens of an image, by the beginning of the model's name.
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
    total = tool_tokens if request.tools or request.response_format is not None else 0
    for piece in request.attachments():
        match piece:
            case ImagePart():
                known = next((tokens for start, tokens in published if request.model.startswith(start)), None)
                most = bounds.image_tokens if bounds.image_tokens is not None else known
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
