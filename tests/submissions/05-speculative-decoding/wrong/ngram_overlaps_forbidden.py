"""Accepts only occurrences that end before the last n-gram begins.

loses: ngram-drafter-test
"""

# %% nbgrader={"grade": false, "grade_id": "ngram-drafter", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ngram_draft(text, k, longest=3):
    for n in range(min(longest, len(text) - 1), 0, -1):
        for start in range(len(text) - 2 * n, -1, -1):
            if text[start : start + n] == text[-n:]:
                return text[start + n : start + n + k]
    return []
