"""What an answer rests on, as OpenAI's formats tell it: by places in the text. Pure."""

from collections.abc import Iterable, Iterator

from organism.formats.json_reading import JsonObject
from organism.llm.citations import Citation
from organism.llm.requests import Part, TextPart


def cited_in(parts: Iterable[Part]) -> Iterator[tuple[Citation, int, int]]:
    """Yield what the words of parts rest on, with where those begin and end in all of their text."""
    before = 0
    for part in parts:
        if isinstance(part, TextPart):
            for each in part.citations:
                yield each, before + each.start, before + (each.end or len(part.text))
            before += len(part.text)


def annotation_of(citation: Citation, start: int, end: int) -> JsonObject | None:
    """Write what words rest on, as responses have it; ``None`` for what neither format of OpenAI has a word for."""
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
    """Write all that parts rest on, as responses have it."""
    written = (annotation_of(*each) for each in cited_in(parts))
    return [each for each in written if each is not None]


def chat_annotations_of(parts: Iterable[Part]) -> list[JsonObject]:
    """Write all that parts rest on, as chat completions have it, which know pages of the web alone."""
    return [
        {"type": "url_citation", "url_citation": {name: value for name, value in each.items() if name != "type"}}
        for each in annotations_of(parts)
        if each.get("type") == "url_citation"
    ]
