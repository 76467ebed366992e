"""The course's grader and its build: masters to handouts, handouts to grades, and the tests of the tests."""
