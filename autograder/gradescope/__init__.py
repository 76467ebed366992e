"""Gradescope: the zip that makes an assignment there, and what runs in its container for each submission."""
