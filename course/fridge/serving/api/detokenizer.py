"""Text out of a stream of tokens: a token is some bytes, and a character may take the bytes of several tokens.

The Unicode Standard 15, section 3.9, says what takes the place of bytes that can't be UTF-8: a U+FFFD for each maximal
subpart. Python's decoders do so. An incremental one keeps back the bytes that a later one could still complete.
"""

import codecs
from collections.abc import Sequence

_decoder = codecs.getincrementaldecoder("utf-8")


class Detokenizer:
    """All pieces that it gives, one after the other, are the text of all tokens' bytes together.

    A piece is never taken back, and no push looks at more than its own token and at most three bytes before it.

    Args:
        vocabulary: the bytes of each token.
    """

    def __init__(self, vocabulary: Sequence[bytes]):
        self._vocabulary = vocabulary
        self._bytes = _decoder("replace")

    def push(self, token: int) -> str:
        """What is certain now and hasn't been told yet."""
        text = self._bytes.decode(self._vocabulary[token])
        unfinished, _ = self._bytes.getstate()
        if unfinished[:1] == b"\xed" and unfinished[1:] >= b"\xa0":
            # Half of a surrogate pair: no character any more, but Python waits for its third byte.
            text += self.flush()
        return text

    def flush(self) -> str:
        """The rest, at the end: nothing, or U+FFFD for a character that isn't complete."""
        return self._bytes.decode(b"", final=True)
