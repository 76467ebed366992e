"""One submission: read, rebuilt from the handout, run against the tests, and the record of what that gave."""
