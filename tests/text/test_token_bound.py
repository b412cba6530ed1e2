"""What text takes at most, against counts of real tokenizers, made once: of ten of them the largest."""

import pytest

from organism.budget.calibration import Calibration
from organism.budget.estimate import output_tokens_from_text, size_of
from organism.text.token_bound import most_tokens
from tests.budget.test_measured_tokenizers import AGENT

PROSE = "The harbour master writes the height of every tide into a book that his grandfather began. "


def letters(first: int, count: int, between: str = "") -> str:
    return between.join(map(chr, range(first, first + count)))


TEXTS = [
    pytest.param("\n".join("thequickbrownfoxjumpsoverit"), 53, id="letters on lines"),
    pytest.param(" ".join("thequickbrownfoxjumpsoverit"), 27, id="letters between spaces"),
    pytest.param("  ".join("thequickbrownfoxjumpsoverit"), 53, id="letters between two spaces"),
    pytest.param("\n".join("31415926535897932384"), 39, id="digits on lines"),
    pytest.param(" ".join("31415926535897932384"), 39, id="digits between spaces"),
    pytest.param("\n".join("!?;:,.&%#@+-="), 25, id="marks on lines"),
    pytest.param(" \n" * 20, 40, id="blank lines"),
    pytest.param("xq\nvz\nkj\nwp\nfd\nbt\nhm\nrg\nsc\nly\nnu\noe\nai", 27, id="pairs of letters on lines"),
    pytest.param("qxvzkjwpfdbthmrgsclynuoeaiwkzqpjxv", 23, id="random letters"),
    pytest.param("xqvzk jwpfd bthmr gscly nuoea iwkzq pjxvb", 27, id="groups of random letters"),
    pytest.param("bdfgkmnprstvzhlwcjqxbtdkgpfmvszl", 20, id="consonants"),
    pytest.param("eoiauoeaiueoaieuoaieuaoieuaoieau", 16, id="vowels"),
    pytest.param("gattacagattcagcatcgatcgactagcatcgacta", 19, id="letters of a gene"),
    pytest.param("taht erew eno nac dnatsrednu gnihtyna fi", 18, id="turned around"),
    pytest.param("gur dhvpx oebja sbk whzcf bire gur ynml qbt", 21, id="thirteen further"),
    pytest.param("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", 36, id="hexadecimal"),
    pytest.param("3fa85f64-5717-4562-b3fc-2c963f66afa6 7c9e6679-7425-40de-944b-e07fc1f90ae7", 66, id="identifiers"),
    pytest.param("mfrggzdfmztwq2lknnwg23tpobyxe43uov3ho6dzpi", 29, id="base 32"),
    pytest.param("a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6", 32, id="letters and digits in turn"),
    pytest.param("e2e4 e7e5 g1f3 b8c6 f1b5 a7a6 b5a4 g8f6 e1g1 f8e7", 40, id="moves of chess"),
    pytest.param("qz_xw_kv bt_pf_gd mv_rq_zx hw_jk_fy cb_nd_ls", 26, id="short names"),
    pytest.param("zixovumab quvakinib xofeviprel wazubastat tixagenib", 23, id="made-up medicine"),
    pytest.param("\\x9f\\x86\\xd0\\x81\\x88\\x4c\\x7d\\x65", 31, id="bytes in text"),
    pytest.param("3f:a8:5f:64:57:17 45:62:b3:fc:2c:96 3f:66:af:a6:7c:9e", 51, id="addresses of cards"),
    pytest.param(
        "Genir pawb yn rhydd ac yn gydradd a'i gilydd mewn urddas a hawliau. Fe'u cynysgaeddir a rheswm", 43, id="Welsh"
    ),
    pytest.param("Bonke abantu bazalwa bekhululekile belingana ngesithunzi nangamalungelo.", 29, id="Zulu"),
    pytest.param(
        "Wszyscy ludzie rodz\u0105 si\u0119 wolni i r\u00f3wni pod wzgl\u0119dem swej godno\u015bci i swych praw",
        38,
        id="Polish",
    ),
    pytest.param("".join(letter + "\u0303" for letter in "the sea the sky"), 45, id="an accent on each letter"),
    pytest.param("".join(letter + letters(0x316, 6) for letter in "the sea"), 91, id="letters buried in accents"),
    pytest.param(letters(0x1F1E6, 24), 95, id="flags"),
    pytest.param("\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466" * 4, 76, id="families"),
    pytest.param("".join(digit + "\ufe0f\u20e3" for digit in "0123456789"), 70, id="keys"),
    pytest.param(letters(0x1D4D0, 24), 96, id="letters of mathematics"),
    pytest.param(letters(0x2840, 24), 72, id="braille"),
    pytest.param(letters(0xE100, 24), 72, id="letters of nobody"),
    pytest.param(letters(0x1260, 24, " "), 95, id="Ethiopic"),
    pytest.param(letters(0x13A0, 24), 72, id="Cherokee"),
    pytest.param(letters(0x16A0, 24), 72, id="runes"),
    pytest.param(letters(0x780, 24), 48, id="Thaana"),
    pytest.param(letters(0x712, 24), 48, id="Syriac"),
    pytest.param(letters(0x1780, 24), 72, id="Khmer"),
    pytest.param(letters(0xD85, 17), 50, id="Sinhala"),
    pytest.param(letters(0x1405, 24), 72, id="Inuktitut"),
    pytest.param(letters(0xA010, 24), 72, id="Yi"),
    pytest.param(letters(0x20100, 16), 64, id="rare Chinese"),
    pytest.param(
        "\u043b\u044e\u0434\u0438 \u0440\u043e\u0436\u0434\u0430\u044e\u0442\u0441\u044f".encode().decode("latin-1"),
        48,
        id="a wrong character set",
    ),
]
"""Which tokenizers were asked stands in :mod:`organism.text.token_bound`."""


@pytest.mark.parametrize(("text", "counted"), TEXTS)
def test_text_without_words_is_held_at_what_any_tokenizer_makes_of_it(text: str, counted: int) -> None:
    """Whatever splits tokens is in the first hold, and in what is charged where nobody has counted."""
    guess = Calibration().guess("p/unmeasured", [text])
    assert guess.tokens - guess.frame >= counted
    assert output_tokens_from_text(text) >= counted


@pytest.mark.parametrize(("text", "counted"), TEXTS)
def test_text_between_prose_is_held_at_its_own_price(text: str, counted: int) -> None:
    """What is put between sentences costs what it costs alone, within what these are held above their own count."""
    times = 1 + 200 // len(text)
    whole = (PROSE * 3 + text * times) * 5
    prose = 5 * 3 * len(PROSE.split())
    guess = Calibration().guess("p/unmeasured", [whole])
    assert guess.tokens - guess.frame >= prose + 5 * times * counted


def test_prose_and_code_are_held_about_as_by_their_bytes() -> None:
    """A text in words has no more held for it than by its bytes, and what agents begin with hardly more."""
    assert most_tokens(PROSE) <= len(PROSE) * 1.1 / 3
    assert most_tokens(AGENT) <= size_of(AGENT).tokens * 1.1 * 1.15


def test_what_was_learnt_of_prose_says_nothing_of_text_without_words() -> None:
    """Counts of English do not lower the hold of random letters, which look like it in bytes."""
    calibration = Calibration()
    prose, noise = PROSE * 100, "xqvzk jwpfd bthmr gscly nuoea iwkzq pjxvb " * 100
    for _ in range(20):
        guess = calibration.guess("p/m", [prose])
        calibration.learn("p/m", guess, len(prose) // 5)
    assert calibration.knows("p/m", calibration.guess("p/m", [prose]).kind)
    held = calibration.guess("p/m", [noise])
    assert held.tokens - held.frame >= 27 * 100


def test_a_bound_is_never_above_the_bytes() -> None:
    """No tokenizer of bytes makes more tokens than there are bytes, and nothing takes none."""
    assert most_tokens("") == 0
    for text in ("a", " ", "\n", "\u0301", "\ud800", "9" * 50, "\r\n" * 9):
        assert 0 < most_tokens(text) <= len(text.encode("utf-8", "replace"))
