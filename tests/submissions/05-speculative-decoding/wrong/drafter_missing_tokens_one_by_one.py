"""Feeds what the cache lacks in a call for each token.

loses: model-drafter-test
"""

# %% nbgrader={"grade": false, "grade_id": "model-drafter", "locked": false, "schema_version": 3, "solution": true, "task": false}
class ModelDrafter:
    def __init__(self, model, cache):
        self.model, self.cache = model, cache

    def propose(self, text, k):
        if k == 0:
            return []
        right = min(len(self.cache), len(text) - 1)
        self.cache.rewind(right)

        draft = []
        for token in text[right:]:
            logits = self.model(torch.tensor([[token]]), self.cache)
        while True:
            draft.append(int(logits[0, -1].argmax()))
            if len(draft) == k:
                return draft
            logits = self.model(torch.tensor([draft[-1:]]), self.cache)
