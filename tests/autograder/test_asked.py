"""What a test cell may ask of a learner's answer: nothing, before it is a value of the test's own."""

import pytest

from autograder.authoring.asked import asked

FUNCTIONS, CLASSES = ("quantize", "merge", "perplexity"), ("Cache",)


def findings(*lines: str) -> str:
    return "\n".join(asked("\n".join(lines), FUNCTIONS, CLASSES))


@pytest.mark.parametrize(
    "lines",
    [
        ["codes = quantize(w)", "codes.dtype == torch.int8"],
        ["expect_true(quantize(w).shape == (2, 3), 'shape', 'two', 'x')"],
        ["back = quantize(w).double()"],
        ["codes, scale = expect_parts(quantize(w), 'codes, scale', 'x')", "steps = (codes.double() - w).abs()"],
        ["codes, scale = expect_parts(quantize(w), 'codes, scale', 'x')", "expect_close(codes * 2, w, 'x')"],
        ["codes = quantize(w)", "expect_equal(codes, [1], 'x')", "n = codes.item()"],
        ["codes, scale = quantize(w)"],
        ["for part, right in zip(quantize(w), rights, strict=True):", "    expect_close(part, right, 'x')"],
        ["for part, right in zip(parts, rights):", "    expect_close(part, right, 'x')"],
        ["pairs = dict(zip(names, numbers, strict=False))"],
        ["def check(got):", "    return got.tolist()", "check(quantize(w))"],
        ["def of(w):", "    return quantize(w)", "expect_true(of(1).numel() == 1, 'x', 'y', 'z')"],
        ["def near(got, right):", "    return right if isinstance(got, float) else got", "near(quantize(1), 2)"],
        ["def model(ids, *_):", "    fed.append(ids[0].tolist())", "value = perplexity(model, 3)"],
        ["perplexity(lambda ids: torch.zeros(1, ids.shape[1]), 3)"],
        ["logits = lambda ids: ids.sum()", "def call(of):", "    perplexity(lambda x: of(x), 1)", "call(logits)"],
        ["cache = Cache(1)", "k = cache.update(0)", "expect_true(k.shape[2] == 1, 'x', 'y', 'z')"],
        ["layer = Cache(1)", "out = layer(x)", "expect_true(bool((out > 0).all()), 'x', 'y', 'z')"],
        [
            "class Rounds:",
            "    def __init__(self):",
            "        self.cache = Cache(1)",
            "    def go(self):",
            "        return self.cache.get(1).tolist()",
        ],
        ["got = as_tensor(quantize(w))", "expect_true(got >= 0, 'x', 'y', 'z')"],
        ["whole = torch.cat([quantize(w), quantize(v)])"],
        ["total = sum(quantize(w)[part] for part in names)"],
        ["if quantize(w):", "    pass"],
        ["one, other = merge(a, b), merge(b, a)", "expect_close(one, other, 'x')"],
        ["expect_equal(Cache(1).nbytes, Cache(2).nbytes, 'x')"],
        ["got = [quantize(w) for w in ws]", "expect_true(got[0].dim() == 2, 'x', 'y', 'z')"],
        ["got = []", "for w in ws:", "    got.append(quantize(w))", "got[0].tolist()"],
        ["x = -quantize(w)"],
        ["x = quantize(w) if w else quantize(v)", "x.max()"],
        ["blocks = [int(block) for block in Cache(1).allocate(3)]"],
        ["k = float(quantize(w))"],
        ["different = set(Cache(1).allocate(3))"],
        ["blocks = list(Cache(1).allocate(3))", "different = len(set(blocks))"],
        ["different = {block for block in Cache(1).allocate(3)}"],
        ["plan = {name: 1 for name, new in Cache(1).schedule()}"],
        ["seen = {quantize(w), 1}"],
        ["seen = {quantize(w): 1, **others}"],
        ["counts = Counter(quantize(w) for w in ws)"],
    ],
)
def test_a_question_to_an_answer_is_found(lines):
    """Guards against points for an object that says of itself what it isn't."""
    assert findings(*lines)


@pytest.mark.parametrize(
    "lines",
    [
        ["codes = expect_tensor(quantize(w), 'codes', dtype=torch.int8)", "steps = (codes.double() - w).abs().max()"],
        ["expect_close(quantize(w), right, 'x')", "expect_equal(quantize(w), [1], 'x')"],
        ["codes, scale = expect_parts(quantize(w), 'codes, scale', 'x')", "expect_close(codes, right, 'x')"],
        ["n = expect_number(quantize(w), 'n')", "expect_true(abs(n - 1) < 2, 'x', 'y', n)"],
        ["blocks = whole_numbers(Cache(1).allocate(3), 'x')", "expect_equal(len(set(blocks)), 3, 'x')"],
        ["plan = {str(name): expect_number(new, 'x') for name, new in Cache(1).schedule()}"],
        ["known = {1: quantize(w), 2: quantize(v)}", "more = dict(a=quantize(w))"],
        [
            "parts = expect_parts(quantize(w), 'a, b', 'x')",
            "for p, r in zip(parts, rights, strict=True):",
            "    expect_close(p, r, 'x')",
        ],
        ["never = quantize(w)", "expect_true(never is None, 'x', 'None', never)"],
        ["cache = Cache(1)", "expect_equal(len(cache), 3, 'x')", "expect_equal(cache.nbytes, 5, 'x')"],
        [
            "def model(ids, *_):",
            "    ids = expect_tensor(ids, 'ids')",
            "    return torch.zeros(1, ids.shape[1])",
            "perplexity(model, 1)",
        ],
        ["own = torch.ones(3)", "expect_true(own.sum() == 3, 'x', 'y', own)"],
        ["got = token_ids(quantize(w), 'x')", "expect_equal(got[0] + 1, 2, 'x')"],
        ["expect_raises(ValueError, lambda: quantize(torch.tensor([1.0])), 'x')"],
    ],
)
def test_values_may_be_asked(lines):
    """Guards against a rule that forbids what every test does."""
    assert findings(*lines) == ""
