"""Registers all hooks before anything runs, keeps what each heard last before it was rounded."""

# %% nbgrader={"grade": false, "grade_id": "quantize-model", "locked": false, "schema_version": 3, "solution": true, "task": false}
from contextlib import ExitStack


def quantize_model(blocks, x, quantize):
    latest = {}
    with ExitStack() as stack:
        for i in range(len(blocks)):
            for name, layer in blocks[i].layers.items():
                handle = layer.register_forward_pre_hook(
                    lambda layer, args, key=(i, name): latest.__setitem__(key, args[0].clone())
                )
                stack.callback(handle.remove)
        for i in range(len(blocks)):
            blocks[i](x)
            recorded = dict(latest)
            for (number, name), inputs in recorded.items():
                if number == i:
                    quantize(blocks[i].layers[name], inputs)
            latest.clear()
            x = blocks[i](x)
            latest.clear()
