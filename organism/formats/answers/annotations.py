"""Citations of an answer as OpenAI's formats write them: by offsets into the text. Pure."""

from collections.abc import Iterable, Iterator

from organism.formats.json_reading import JsonObject
from organism.llm.citations import Citation
from organism.llm.requests import Part, TextPart


def cited_in(parts: Iterable[Part]) -> Iterator[tuple[Citation, int, int]]:
    """Yield each citation with its start and end, in characters of the joined text of all parts."""
    before = 0
    for part in parts:
        if isinstance(part, TextPart):
            for citation in part.citations:
                yield citation, before + citation.start, before + (citation.end or len(part.text))
            before += len(part.text)


def annotation_of(citation: Citation, start: int, end: int) -> JsonObject | None:
    """Write a citation as responses have it; ``None`` for one that OpenAI's formats cannot express."""
    if citation.format == "responses":
        places = {
            name: place for name, place in (("start_index", start), ("end_index", end)) if name in citation.native
        }
        return {**citation.native, **places}
    if not citation.url:
        return None
    return {
        "type": "url_citation",
        "start_index": start,
        "end_index": end,
        "title": citation.title,
        "url": citation.url,
    }


def annotations_of(parts: Iterable[Part]) -> list[JsonObject]:
    """Write the citations of all parts as responses have them."""
    written = (annotation_of(*each) for each in cited_in(parts))
    return [each for each in written if each is not None]


def chat_annotations_of(parts: Iterable[Part]) -> list[JsonObject]:
    """Write the citations of all parts as chat completions have them, which know web pages alone."""
    return [
        {"type": "url_citation", "url_citation": {name: value for name, value in each.items() if name != "type"}}
        for each in annotations_of(parts)
        if each.get("type") == "url_citation"
    ]
