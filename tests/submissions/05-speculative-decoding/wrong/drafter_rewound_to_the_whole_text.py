"""Rewinds to the text's length and keeps a guess in the last token's place.

loses: model-drafter-test
"""

# %% nbgrader={"grade": false, "grade_id": "model-drafter", "locked": false, "schema_version": 3, "solution": true, "task": false}
class ModelDrafter:
    def __init__(self, model, cache):
        self.model, self.cache = model, cache

    def propose(self, text, k):
        if k == 0:
            return []
        right = min(len(self.cache), len(text))
        self.cache.rewind(right)
        right = min(right, len(text) - 1)
        feed, draft = list(text[right:]), []
        while len(draft) < k:
            logits = self.model(torch.tensor([feed]), self.cache)
            draft.append(int(logits[0, -1].argmax()))
            feed = draft[-1:]
        return draft
