"""Texts of many kinds to measure with: this project's documents, code and data, and sentences in other languages."""

import random
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent

_GERMAN = (
    "Zweimal am Tag kommt das Meer zurück und nimmt sich, was es am Morgen liegen gelassen hat.",
    "Wer an der Küste aufwächst, kennt den Fahrplan der Gezeiten besser als den der Eisenbahn.",
    "Die Fischer prüfen ihre Netze, bevor das Wasser steigt, und sprechen dabei kaum ein Wort.",
    "Über Nacht hat der Sturm die Fahrrinne verlegt, sodass kein Schiff mehr auslaufen konnte.",
    "Im Hafenamt hängt eine Tafel mit Höchstständen, die bis ins achtzehnte Jahrhundert zurückreicht.",
)
_RUSSIAN = (
    "Дважды в день море возвращается и забирает то, что оставило на берегу утром.",
    "Рыбаки проверяют сети, пока вода не поднялась, и почти не разговаривают между собой.",
    "Ночью шторм переменил русло, и ни одно судно не смогло выйти из гавани.",
    "Старый смотритель маяка записывает высоту прилива в тетрадь, которую вёл ещё его дед.",
)
_CHINESE = (
    "潮水每天两次涨落渔民们在岸边等待",
    "昨夜的风暴改变了航道所有船只都留在港口",
    "老灯塔的看守人把每一次潮高写进祖父留下的本子",
    "孩子们在退潮后的沙滩上寻找贝壳和小螃蟹",
)

Source = Callable[[random.Random, int], str]
"""Makes a text of about so many characters."""


def _pieces(pattern: str) -> Source:
    whole = "".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob(pattern)))

    def piece(chance: random.Random, size: int) -> str:
        begin = chance.randrange(max(1, len(whole) - size))
        return whole[begin : begin + size]

    return piece


def _sentences(sentences: tuple[str, ...], space: str) -> Source:
    def several(chance: random.Random, size: int) -> str:
        text = ""
        while len(text) < size:
            text += chance.choice(sentences) + space
        return text[:size]

    return several


def _numbers(chance: random.Random, size: int) -> str:
    text = "date,station,height_m,delta\n"
    while len(text) < size:
        text += f"2026-{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d},{chance.randrange(999)},"
        text += f"{chance.random() * 8:.3f},{chance.random() - 0.5:+.4f}\n"
    return text[:size]


SOURCES: dict[str, Source] = {
    "English": _pieces("docs/*.md"),
    "Python": _pieces("organism/router/*.py"),
    "JSON": _pieces("organism/config/organism.schema.json"),
    "German": _sentences(_GERMAN, " "),
    "Russian": _sentences(_RUSSIAN, " "),
    "Chinese": _sentences(_CHINESE, ""),
    "numbers": _numbers,
}
"""Kinds of text by name."""
