"""The engine and its peers on one trace, one after the other on one machine: `python -m fridge.serving.bench`.

`contestants/` holds a script for each; `contest` runs them in processes of their own and checks the answers; `sweep`
measures the engine by batch size against the floor of its matrix products; `peers` makes the environment that vLLM
needs for itself.

The API servers have a bench of their own, `python -m fridge.serving.bench.api`: `load` sends requests that arrive
whether or not a server keeps up, `latencies` says what that felt like, `api_servers` starts the servers. `soak` is half
an hour of clients, some of whom behave badly.
"""
