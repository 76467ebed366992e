"""Keeps what was recorded under the layer itself, as hooks get it."""

# %% nbgrader={"grade": false, "grade_id": "quantize-model", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize_model(blocks, x, quantize):
    for block in blocks:
        seen = {}

        def hook(layer, args):
            seen[layer] = args[0].flatten(0, -2)

        handles = [layer.register_forward_pre_hook(hook) for layer in block.layers.values()]
        try:
            block(x)
        finally:
            [handle.remove() for handle in handles]
        for layer in block.layers.values():
            assert seen[layer].shape[1] == layer.in_features
            quantize(layer, seen[layer])
        x = block(x)
