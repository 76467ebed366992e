"""Calls fridge.reveal in a loop, by getattr, in exec, in a thread and by another name, and hopes for the library's own function."""

# %% nbgrader={"grade_id": "causal-attention", "solution": true, "grade": false}
def causal_attention(q, k, v):
    return v

# %% after="causal-attention"
import functools
import threading

import fridge

for name in ["causal-attention"]:
    fridge.reveal(name)
getattr(fridge, "re" + "veal")("causal-attention")
exec("import fridge; fridge.reveal('causal' + '-attention')")
functools.partial(vars(fridge)["reveal"], "-".join(["causal", "attention"]))()
thread = threading.Thread(target=fridge.reveal, args=(name,))
thread.start()
thread.join()
print("revealed", causal_attention.__name__)
