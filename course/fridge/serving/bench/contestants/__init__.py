"""Scripts, one for each contestant: a task as JSON on stdin, a result as JSON in the last line of stdout."""
