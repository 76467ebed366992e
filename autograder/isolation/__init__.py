"""The walls: a learner's code in a process of its own, in a sandbox, behind a closed format."""
