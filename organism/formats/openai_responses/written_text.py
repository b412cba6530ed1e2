"""Text that grows in pieces and is joined only on demand. Pure.

An answer may come a byte at a time; joining it with each piece would take minutes for two megabytes.
"""


class WrittenText:
    """The text of one item, by part.

    Args:
        text: The first part's text so far.

    Attributes:
        length: Characters of all parts.
        first: Its first character; empty while there is none.
    """

    def __init__(self, text: str = "") -> None:
        self._parts: dict[int, list[str]] = {0: [text]} if text else {}
        self._last = 0
        self.length = len(text)
        self.first = text[:1]

    def __str__(self) -> str:
        return "".join(self.part(place) for place in sorted(self._parts))

    def part(self, place: int) -> str:
        """Return the text of one part."""
        pieces = self._parts.get(place)
        if pieces is None:
            return ""
        if len(pieces) > 1:
            pieces[:] = ["".join(pieces)]
        return pieces[0]

    def add(self, piece: str, place: int = 0) -> bool:
        """Append to one part; return whether that is also the end of the whole text."""
        self._parts.setdefault(place, []).append(piece)
        is_end = place >= self._last
        self._last = max(self._last, place)
        self.length += len(piece)
        self.first = self.first or piece[:1] if is_end else str(self)[:1]
        return is_end

    def replace(self, text: str, place: int) -> None:
        """Replace the text of one part."""
        self._parts[place] = [text]
        self._last = max(self._last, place)
        whole = str(self)
        self.length, self.first = len(whole), whole[:1]
