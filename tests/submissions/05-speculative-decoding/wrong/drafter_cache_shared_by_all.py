"""One cache for all drafters, the first that came.

loses: model-drafter-test
"""

# %% nbgrader={"grade": false, "grade_id": "model-drafter", "locked": false, "schema_version": 3, "solution": true, "task": false}
class ModelDrafter:
    def __init__(self, model, cache):
        ModelDrafter.kept = getattr(ModelDrafter, "kept", cache)
        self.model, self.cache = model, ModelDrafter.kept

    def propose(self, text, k):
        if k == 0:
            return []
        right = min(len(self.cache), len(text) - 1)
        self.cache.rewind(right)

        feed, draft = list(text[right:]), []
        while len(draft) < k:
            logits = self.model(torch.tensor([feed]), self.cache)
            draft.append(int(logits[0, -1].argmax()))
            feed = draft[-1:]
        return draft
