"""Text that comes in pieces, and is joined only when somebody asks for all of it. Pure.

An answer may come a byte at a time: joined with each piece, two megabytes of it would take minutes.
"""


class WrittenText:
    """What has been written of an item, by its parts.

    Args:
        text: What there is of the first part.

    Attributes:
        length: How long all of it is.
        first: The character that it begins with; empty while there is none.
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
        """Add to one part; returns whether that is the end of the whole."""
        self._parts.setdefault(place, []).append(piece)
        is_end = place >= self._last
        self._last = max(self._last, place)
        self.length += len(piece)
        self.first = self.first or piece[:1] if is_end else str(self)[:1]
        return is_end

    def replace(self, text: str, place: int) -> None:
        """Put a text in the place of one part."""
        self._parts[place] = [text]
        self._last = max(self._last, place)
        whole = str(self)
        self.length, self.first = len(whole), whole[:1]
