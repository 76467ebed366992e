"""Calls quantize once more after an error; breaks "It is called once for each layer".

loses: quantize-model-test
"""

# %% nbgrader={"grade": false, "grade_id": "quantize-model", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize_model(blocks, x, quantize):
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
            try:
                quantize(layer, seen[name])
            except Exception:
                quantize(layer, seen[name])
        x = block(x)
