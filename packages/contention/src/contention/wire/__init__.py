"""The wire: what passes between a worker and its servers, taken apart without touching it."""
