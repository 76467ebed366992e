"""From masters to handouts: build, lint, the check of the tests by sample submissions, publishing."""
