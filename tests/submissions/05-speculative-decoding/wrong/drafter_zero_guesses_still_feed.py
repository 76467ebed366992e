"""Feeds the text when no guess is wanted.

loses: model-drafter-test
"""

# %% nbgrader={"grade": false, "grade_id": "model-drafter", "locked": false, "schema_version": 3, "solution": true, "task": false}
class ModelDrafter:
    def __init__(self, model, cache):
        self.model, self.cache = model, cache

    def propose(self, text, k):
        right = min(len(self.cache), len(text) - 1)
        self.cache.rewind(right)

        logits = self.model(torch.tensor([list(text[right:])]), self.cache)
        draft = []
        while len(draft) < k:
            draft.append(int(logits[0, -1].argmax()))
            if len(draft) < k:
                logits = self.model(torch.tensor([draft[-1:]]), self.cache)
        return draft
