"""What a test's object gives away and goes on writing to: `learner_shares`, a dict of a method's name and one of these.

In a notebook learner and test have the same tensor. In grading each has one of its own, and what is written to the
test's is sent after it, with the next answer of a test's object. What a test writes itself, between two calls of a
learner's function, isn't seen before that.
"""

ONCE = "once"  # the object lets it go when it has changed: from then on it is the learner's own
ALWAYS = "always"  # the object keeps it, and gives the same tensor each time
