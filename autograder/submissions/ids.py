"""What a learner's id may be: the name of a folder, of rows in the gradebook, and part of pages and commands.

One rule for every entrance, class lists, archives and folders alike: what passes here can stand as it is in a path, a
page, a terminal and a spreadsheet.
"""

import unicodedata

from autograder.printing import shown

MAX_CHARACTERS = 128  # nbgrader's column in the gradebook
MAX_BYTES = 240  # in UTF-8: of the 255 that a name has on Linux's disks, with room for `.<id>.json.new`
SIGNS = frozenset("._-@+")
_INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
)  # letters and marks by category
_VARIATIONS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))


class BadId(ValueError):
    """A text that can't be a learner's id. The message says why, in a sentence."""


def checked_id(text: str) -> str:
    """The id, in Unicode's composed form: letters and digits of any script, and `. _ - @ +`.

    Raises:
        BadId: it is empty or too long, begins with a dot, or has another sign, an invisible letter, or a look-alike
            that Unicode keeps for old encodings only.
    """
    text = unicodedata.normalize("NFC", text)
    if not text:
        raise BadId("an id is missing")
    if len(text) > MAX_CHARACTERS or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise BadId(f"the id {shown(text, 20)} is longer than {MAX_CHARACTERS} letters or {MAX_BYTES} bytes")
    if text.startswith("."):
        raise BadId(f"the id {shown(text)} begins with a dot")
    for place, letter in enumerate(text):
        if not _is_harmless(letter, first=place == 0):
            raise BadId(
                f"the id {shown(text)} has {_named(letter)} in it: letters, digits and . _ - @ + may stand there"
            )
    return text


def is_id(text: str) -> bool:
    """Whether `checked_id` takes it as it stands."""
    try:
        return checked_id(text) == text
    except BadId:
        return False


def _is_harmless(letter: str, first: bool) -> bool:
    if letter in SIGNS:
        return True
    if letter in _INVISIBLE or any(ord(letter) in block for block in _VARIATIONS):
        return False
    kind = unicodedata.category(letter)
    if kind in ("Mn", "Mc"):  # vowel signs and accents belong to a letter before them
        return not first
    # Not Lm: modifier letters look like apostrophes and accents. What NFKC changes looks like another letter.
    return kind in ("Lu", "Ll", "Lt", "Lo", "Nd") and unicodedata.normalize("NFKC", letter) == letter


def _named(letter: str) -> str:
    return "a space" if letter == " " else f"U+{ord(letter):04X} ({unicodedata.name(letter, 'without a name').lower()})"
