"""Citations and log probabilities of a message of responses, read. Pure.

Source: the reference of ``POST /v1/responses``: ``annotations`` and ``logprobs`` of a text.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from organism.formats.json_reading import JsonObject, part, text_of, whole_number
from organism.llm.citations import Citation


def annotation_read(value: JsonObject) -> Citation:
    """Translate one annotation: a web page, or a source that only this format can express."""
    start, end = (max(0, whole_number(value.get(name)) or 0) for name in ("start_index", "end_index"))
    title = text_of(value.get("title")) or text_of(value.get("filename"))
    return Citation(text_of(value.get("url")), title, start, end, native=value, format="responses")


def annotations_in(item: JsonObject) -> Iterator[Citation]:
    """Yield the citations of a message, with offsets into all of its text."""
    before = 0
    content = item.get("content")
    for piece in content if isinstance(content, list) else ():
        listed = part(piece, "annotations")
        for each in listed if isinstance(listed, list) else ():
            if isinstance(each, dict):
                found = annotation_read(each)
                yield replace(found, start=found.start + before, end=found.end + before if found.end else 0)
        before += len(text_of(part(piece, "text")))


def logprobs_in(item: JsonObject) -> list[JsonObject]:
    """Return the log probabilities of a message's tokens."""
    content = item.get("content")
    found: list[JsonObject] = []
    for piece in content if isinstance(content, list) else ():
        listed = part(piece, "logprobs")
        found += [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return found
