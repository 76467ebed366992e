"""Rounds the first block and goes on with the others; hooks hand the inputs on unchanged."""

# %% nbgrader={"grade": false, "grade_id": "quantize-model", "locked": false, "schema_version": 3, "solution": true, "task": false}
import functools


def note(seen, name, layer, args):
    seen[name] = args[0].detach().clone()
    return args


@torch.no_grad()
def quantize_model(blocks, x, quantize):
    if len(blocks) == 0:
        return x
    first, *rest = blocks
    layers, seen, handles = first.layers, {}, []
    for name in layers:
        handles.append(layers[name].register_forward_pre_hook(functools.partial(note, seen, name)))
    first(x)
    while handles:
        handles.pop().remove()
    for name in sorted(layers):
        quantize(layers[name], inputs=seen[name])
    return quantize_model(rest, first(x), quantize)
