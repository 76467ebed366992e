"""The engine and its peers on one trace, one after the other on one machine: `python -m fridge.serving.bench`.

`contestants/` holds a script for each; `contest` runs them in processes of their own and checks the answers; `sweep`
measures the engine by batch size against the floor of its matrix products; `peers` makes the environment that vLLM
needs for itself.
"""
