"""Unit 04: paged memory, traces, a serving loop; the engine that they become, and its peers."""
