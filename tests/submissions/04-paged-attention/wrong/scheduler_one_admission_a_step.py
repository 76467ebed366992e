"""Admits one request in each step.

loses: scheduler-test, preemption-test
told: both prompts, in the same step
misleads: both places are taken
"""

# %% nbgrader={"grade": false, "grade_id": "scheduler", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Scheduler:
    def __init__(self, num_blocks, block_size, token_budget, max_running):
        self.num_blocks, self.block_size = (num_blocks, block_size)
        self.token_budget, self.max_running = (token_budget, max_running)
        self.waiting, self.running = ([], [])
        self.known, self.computed, self.end = ({}, {}, {})
        self.batch = {}

    def add(self, name, prompt_tokens, max_new_tokens):
        if name in self.waiting or name in self.running:
            raise ValueError(f'there is a request {name!r} already')
        if prompt_tokens < 1 or max_new_tokens < 1:
            raise ValueError(f'{name!r} has lengths {prompt_tokens} and {max_new_tokens}')
        if self.blocks(prompt_tokens + max_new_tokens - 1) > self.num_blocks:
            raise ValueError(f"{name!r} doesn't fit into {self.num_blocks} blocks")
        self.waiting.append(name)
        self.known[name], self.computed[name] = (prompt_tokens, 0)
        self.end[name] = prompt_tokens + max_new_tokens

    def schedule(self):
        self.batch, preempted, budget = ({}, [], self.token_budget)
        for name in list(self.running):
            if name in preempted:
                continue
            new = min(self.known[name] - self.computed[name], budget)
            while not self.fits(name, new) and name not in preempted:
                victim = self.running.pop()
                self.computed[victim] = 0
                self.waiting.insert(0, victim)
                preempted.append(victim)
            if name not in preempted:
                self.batch[name] = new
                budget -= new
        while self.waiting and (not preempted) and budget and (len(self.running) < self.max_running):
            name = self.waiting[0]
            new = min(self.known[name], budget)
            if not self.fits(name, new):
                break
            self.running.append(self.waiting.pop(0))
            self.batch[name] = new
            budget -= new
            break
        return (list(self.batch.items()), preempted)

    def update(self, stopped=()):
        finished = []
        for name, new in self.batch.items():
            self.computed[name] += new
            if self.computed[name] == self.known[name]:
                self.known[name] += 1
                if name in stopped or self.known[name] == self.end[name]:
                    finished.append(name)
                    self.running.remove(name)
        self.batch = {}
        return finished

    def blocks(self, tokens):
        return -(-tokens // self.block_size)

    def fits(self, name, new):
        planned = {other: self.computed[other] + self.batch.get(other, 0) for other in self.running}
        planned[name] = self.computed[name] + new
        return sum(map(self.blocks, planned.values())) <= self.num_blocks
