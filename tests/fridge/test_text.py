"""The text for perplexity that needs no download."""

from fridge.workbench import text


def test_long_english_and_the_same_each_time(child) -> None:
    """Guards against an order that changes with the hash seed, and against a Python that ships other or no topics."""
    prose = text.prose()
    assert len(prose) > 300_000
    words = prose.lower().split()
    assert 0.03 < words.count("the") / len(words) < 0.12
    assert sum(ord(letter) < 128 for letter in prose) > 0.99 * len(prose)
    code = "import hashlib; from fridge.workbench import text; print(hashlib.sha256(text.prose().encode()).hexdigest())"
    hashes = {child("-c", code, PYTHONHASHSEED=seed).stdout for seed in ("1", "2")}
    assert len(hashes) == 1
    assert "" not in hashes
