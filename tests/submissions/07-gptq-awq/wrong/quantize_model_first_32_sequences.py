"""Calibrates with 32 sequences at most; breaks "each token of each sequence once".

loses: quantize-model-test
"""

# %% nbgrader={"grade": false, "grade_id": "quantize-model", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize_model(blocks, x, quantize):
    x = x[:32]
    for block in blocks:
        seen, handles = {}, []
        try:
            for name, layer in block.layers.items():
                handles.append(
                    layer.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0]}))
                )
            block(x)
        finally:
            for handle in handles:
                handle.remove()
        for name, layer in block.layers.items():
            quantize(layer, seen[name])
        x = block(x)
