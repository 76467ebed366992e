"""ExecuTorch on one exported step: lowered to XNNPACK's kernels, and run by its runtime. Needs no fridge.

python executorch_script.py < task.json: {"exported": a .pt2, "program": where the .pte goes, "prompt": tokens,
"new": how many more, "buffers": their shape}
prints one line of JSON: seconds to lower, bytes, what was computed and how fast, versions.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path


def main() -> None:
    """Read the task, lower, run, print."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    torch.set_num_threads(1)
    portable_lib._unsafe_reset_threadpool(1)  # XNNPACK has threads of its own
    task = json.load(sys.stdin)
    began = time.monotonic()
    exported = torch.export.load(task["exported"])
    lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    left = [
        node
        for node in lowered.exported_program().graph.nodes
        if node.op == "call_function" and "aten" in str(node.target)
    ]
    path = Path(task["program"])
    path.write_bytes(lowered.to_executorch().buffer)
    lowering = time.monotonic() - began

    method = Runtime.get().load_program(path).load_method("forward")
    keys, values = torch.zeros(task["buffers"]), torch.zeros(task["buffers"])
    tokens, spent = list(task["prompt"]), []
    for position in range(len(tokens) + task["new"] - 1):
        started = time.process_time()
        logits, keys, values = method.execute(
            [torch.tensor([tokens[position]]), torch.tensor([position]), keys, values]
        )
        spent.append(time.process_time() - started)
        if position >= len(task["prompt"]) - 1:
            tokens.append(int(logits.argmax()))
    found = {
        "lowering_seconds": round(lowering, 1),
        "threads": portable_lib._threadpool_get_thread_count(),
        "program_bytes": path.stat().st_size,
        "operations_outside": len(left),
        "tokens": tokens[len(task["prompt"]) :],
        "spent": [round(one, 4) for one in spent],
        "versions": {name: version(name) for name in ("executorch", "torch")},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
