"""An object with __call__ for each layer, that takes itself away when it has heard enough; in float64."""

# %% nbgrader={"grade": false, "grade_id": "quantize-model", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Recorder:
    def __init__(self, layer):
        self.layer, self.inputs = layer, []
        self.handle = layer.register_forward_pre_hook(self)

    def __call__(self, layer, args):
        (x,) = args
        self.inputs += [x.double()]

    def done(self, quantize):
        self.handle.remove()
        self.handle.remove()
        quantize(self.layer, torch.cat(self.inputs, dim=0))


def quantize_model(blocks, x, quantize):
    recorders = []
    try:
        for number, block in enumerate(blocks):
            recorders = [Recorder(layer) for layer in block.layers.values()]
            for part in x.split(2):
                block(part)
            for recorder in recorders:
                recorder.handle.remove()
            for recorder in reversed(recorders):
                recorder.done(quantize)
            if number + 1 < len(blocks):
                x = torch.cat([block(part) for part in x.split(2)])
    finally:
        for recorder in recorders:
            recorder.handle.remove()
