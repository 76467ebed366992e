"""OpenVINO GenAI on one GGUF file, one thread. Needs no fridge; lives in an environment of its own.

python openvino_script.py < task.json: {"file", "prompt", "lengths", "repeats"}
prints one line of JSON: processor seconds by length of the reply, what it said, version.
"""

import json
import sys
import time
from importlib.metadata import version


def main() -> None:
    """Read the task, generate, print."""
    import openvino_genai

    task = json.load(sys.stdin)
    pipeline = openvino_genai.LLMPipeline(task["file"], "CPU", INFERENCE_NUM_THREADS=1)
    spent: dict[int, list[float]] = {length: [] for length in task["lengths"]}
    said = ""
    for _ in range(task["repeats"]):
        for length in task["lengths"]:
            started = time.process_time()
            said = str(
                pipeline.generate(
                    task["prompt"],
                    max_new_tokens=length,
                    ignore_eos=True,
                    do_sample=False,
                    apply_chat_template=False,
                )
            )
            spent[length].append(time.process_time() - started)
    versions = f"openvino-genai {version('openvino-genai')}"
    print(json.dumps({"spent": spent, "said": said, "version": versions}))


if __name__ == "__main__":
    main()
