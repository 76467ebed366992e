"""`fridge update`: a newer course, with the learner's answers in its notebooks."""
