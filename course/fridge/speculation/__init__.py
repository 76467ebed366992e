"""Unit 05: prompts, a meter around draft and target, and a draft cut out of the target."""
