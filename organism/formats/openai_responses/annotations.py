"""What words of responses rest on, read. Pure.

Source: the reference of ``POST /v1/responses``: ``annotations`` of a text.
"""

from organism.formats.json_reading import Json, text_of, whole_number
from organism.llm.citations import Citation


def annotation_read(value: Json) -> Citation:
    """Translate one annotation: a page of the web, or what only this format has a word for."""
    start, end = (max(0, whole_number(value.get(name)) or 0) for name in ("start_index", "end_index"))
    title = text_of(value.get("title")) or text_of(value.get("filename"))
    return Citation(text_of(value.get("url")), title, start, end, native=value, format="responses")
