"""Remembers the text's length of the last round, not what the cache holds.

loses: model-drafter-test
"""

# %% nbgrader={"grade": false, "grade_id": "model-drafter", "locked": false, "schema_version": 3, "solution": true, "task": false}
class ModelDrafter:
    def __init__(self, model, cache):
        self.model, self.cache, self.known = model, cache, 0

    def propose(self, text, k):
        if k == 0:
            return []

        right = self.known
        self.known = len(text)
        self.cache.rewind(min(len(self.cache), right))
        feed, draft = list(text[right:]), []
        while len(draft) < k:
            logits = self.model(torch.tensor([feed]), self.cache)
            draft.append(int(logits[0, -1].argmax()))
            feed = draft[-1:]
        return draft
