"""Right results, and what it was given isn't what it was.

loses: device-longest-test shards-test sink-cache-test sink-cache-memory-test arena-test arena-size-test static-step-test static-export-test int8-product-test choose-test small-file-test small-file-quality-test
"""


# %% nbgrader={"grade": false, "grade_id": "device-fit", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fit(model, device, tokens):
    token = 2 * model["layers"] * model["kv_heads"] * model["head_dim"] * model["kv_bytes"]
    cache = token * tokens
    need = model["file"] + cache + device["runtime"]
    space = device["address_space"]
    if space is not None and need > space:
        return need, "no"
    if need <= device["memory"]:
        return need, "fits"
    if device["mapped"] and cache + device["runtime"] <= device["memory"]:
        return need, "slow"
    return need, "no"


def longest(model, device):
    token = 2 * model["layers"] * model["kv_heads"] * model["head_dim"] * model["kv_bytes"]
    limit = device["memory"]
    if device["address_space"] is not None:
        device["memory"] = limit = min(limit, device["address_space"])
    left = limit - model["file"] - device["runtime"]
    if left < 0:
        raise ValueError("the model doesn't fit even with 0 tokens")
    return left // token


def pieces(rows, row_bytes, limit):
    if row_bytes > limit:
        raise ValueError("a row is larger than the limit")
    per_piece = limit // row_bytes
    return -(-rows // per_piece)


# %% nbgrader={"grade": false, "grade_id": "shards", "locked": false, "schema_version": 3, "solution": true, "task": false}
def shards(tensors, limit):
    if any(size > limit for _, size in tensors):
        raise ValueError("a tensor is larger than the limit")
    files = []
    while tensors:
        file, room = [], limit
        while tensors and tensors[0][1] <= room:
            name, size = tensors.pop(0)
            file.append(name)
            room -= size
        files.append(file)
    return files


# %% nbgrader={"grade": false, "grade_id": "sink-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
import torch
import torch.nn.functional as F

from fridge.models.llama import rope_table, rotate


class SinkCache:
    def __init__(self, sinks, window):
        self.sinks, self.window = sinks, window
        self.seen = 0
        self.k = self.v = None

    def __len__(self):
        return min(self.seen, self.sinks + self.window)

    def add(self, k, v):
        if self.k is None:
            self.k = torch.empty(self.sinks + self.window, *k.shape)
            self.v = torch.empty(self.sinks + self.window, *v.shape)
        if self.seen < self.sinks:
            slot = self.seen
        else:
            slot = self.sinks + (self.seen - self.sinks) % self.window
        self.k[slot] = k
        self.v[slot] = v
        self.seen += 1

    def attend(self, q, inv_freq):
        if not self.seen:
            raise ValueError("nothing has been added")
        held = len(self)
        q /= q.shape[-1] ** 0.5
        places = torch.arange(held)
        if self.seen > self.sinks + self.window:
            oldest = (self.seen - self.sinks) % self.window
            ring = torch.arange(self.window)
            places[self.sinks :] = self.sinks + (ring - oldest) % self.window
        k = rotate(self.k[:held].transpose(0, 1), *rope_table(places, inv_freq, torch.float32))
        v = self.v[:held].transpose(0, 1)
        q = rotate(q[:, None], *rope_table(torch.tensor([held - 1]), inv_freq, torch.float32))
        groups = q.shape[0] // k.shape[0]
        k, v = k.repeat_interleave(groups, 0), v.repeat_interleave(groups, 0)
        weights = (q @ k.transpose(1, 2)).softmax(-1)
        return (weights @ v)[:, 0]


# %% nbgrader={"grade": false, "grade_id": "arena", "locked": false, "schema_version": 3, "solution": true, "task": false}
def plan(ops, sizes, outputs, alignment):
    life = {}
    for now, op in enumerate(ops):
        op["of"] = [name for name in op["of"] if name in life]
        for name in op["of"]:
            if name in life:
                life[name][1] = now
        life[op["name"]] = [now, now]
    for name in outputs:
        if name in life:
            life[name][1] = len(ops) - 1
    placed = []  # (name, offset)
    for name in sorted(life, key=lambda name: -sizes[name]):
        first, last = life[name]
        meets = [
            (offset, offset + sizes[other])
            for other, offset in placed
            if first <= life[other][1] and life[other][0] <= last
        ]
        at = 0
        for begin, end in sorted(meets):
            if at + sizes[name] <= begin:
                break
            at = max(at, -(-end // alignment) * alignment)
        placed.append((name, at))
    return dict(placed)


# %% nbgrader={"grade": false, "grade_id": "static-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
import math

import torch
import torch.nn.functional as F

from fridge.fusion import exporting
from fridge.models.llama import rope_table, rotate


def attend_step(q, k, v, keys, values, position, inv_freq):
    cos, sin = rope_table(position, inv_freq, torch.float32)
    keys = keys.clone()
    keys[:, position] = rotate(k, cos, sin)[:, None]
    values[:, position] = v[:, None]
    seen = (torch.arange(keys.shape[1]) <= position)[None]
    out = F.scaled_dot_product_attention(
        rotate(q, cos, sin)[None, :, None], keys[None], values[None], attn_mask=seen, enable_gqa=True
    )
    return out[0, :, 0], keys, values


def exported(heads, kv_heads, head_dim, places):
    """The program of attend_step for these shapes, as exporting.program returns it."""
    return exporting.program(attend_step, exporting.attention_inputs(heads, kv_heads, head_dim, places))


# %% nbgrader={"grade": false, "grade_id": "int8-product", "locked": false, "schema_version": 3, "solution": true, "task": false}
import torch


def int8_product(x, weight, scale):
    s = x.abs().amax(dim=1, keepdim=True) / 127
    codes = x.div_(s.clamp(min=torch.finfo(torch.float32).tiny)).round_().to(torch.int32)
    return (codes @ weight.int().T).float() * s * scale


# %% nbgrader={"grade": false, "grade_id": "choose", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dominates(a, b):
    no_worse = a["quality"] >= b["quality"] and a["speed"] >= b["speed"] and a["memory"] <= b["memory"]
    better = a["quality"] > b["quality"] or a["speed"] > b["speed"] or a["memory"] < b["memory"]
    return no_worse and better


def allowed(scenario, one):
    return (
        one["memory"] <= scenario["memory"]
        and one["users"] >= scenario["users"]
        and (one["local"] or not scenario["private"])
        and one["first_token"] <= scenario["first_token"]
        and one["licence"] in scenario["licences"]
    )


def choose(scenario, candidates):
    candidates.sort(key=lambda one: one["name"])
    left = [one for one in candidates if allowed(scenario, one)]
    front = [b for b in left if not any(dominates(a, b) for a in left)]
    if not front:
        return [], None
    bar = scenario["enough"] * max(one["quality"] for one in front)
    good = [one for one in front if one["quality"] >= bar]
    chosen = min(good, key=lambda one: (-one["speed"], one["memory"], one["name"]))
    return sorted(one["name"] for one in front), chosen["name"]


# %% nbgrader={"grade": false, "grade_id": "small-file", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fridge.quantization import mixed


def small_file(metadata, tensors, groups, budget, loss):
    kinds_of = lambda chosen: {name: kind for group, kind in chosen.items() for name in groups[group]}
    smallest = mixed.KINDS[0]
    chosen = {group: smallest for group in groups}
    size = len(mixed.file(metadata, tensors, kinds_of(chosen)))
    if size > budget:
        raise ValueError(f"{size} bytes at least, and {budget} are allowed")

    base = loss({})
    damage, taken = {}, {}
    for group, names in groups.items():
        for kind in mixed.KINDS:
            damage[group, kind] = loss({group: kind}) - base if kind != "F32" else 0.0
            taken[group, kind] = sum(mixed.tensor_bytes(kind, tensors[name].shape) for name in names)

    while True:
        best = None
        for group, now in chosen.items():
            for kind in mixed.KINDS[mixed.KINDS.index(now) + 1 :]:
                cost = taken[group, kind] - taken[group, now]
                gain = damage[group, now] - damage[group, kind]
                if cost > 0 and gain > 0 and size + cost <= budget:
                    if best is None or gain / cost > best[0]:
                        best = gain / cost, group, kind, cost
        if best is None:
            break
        _, group, kind, cost = best
        chosen[group], size = kind, size + cost
    kinds = kinds_of(chosen)
    for name, kind in kinds.items():
        tensors[name] = mixed.rounded(kind, tensors[name])
    return mixed.file(metadata, tensors, kinds)
