"""Records a sequence at a time and puts them together; a context manager takes the hooks away."""

# %% nbgrader={"grade": false, "grade_id": "quantize-model", "locked": false, "schema_version": 3, "solution": true, "task": false}
from contextlib import contextmanager


@contextmanager
def recording(block):
    heard = {name: [] for name in block.layers}
    handles = []
    try:
        for name, layer in block.layers.items():
            handles.append(layer.register_forward_pre_hook(lambda _, args, name=name: heard[name].append(args[0])))
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def quantize_model(blocks, x, quantize):
    sequences = list(x.split(1))
    for block in blocks:
        with recording(block) as heard:
            for sequence in sequences:
                block(sequence)
        for name, parts in heard.items():
            quantize(block.layers[name], torch.cat(parts))
        sequences = [block(sequence) for sequence in sequences]
