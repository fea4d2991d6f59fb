"""Faults on real servers: whatever is killed, paused, filled or deleted, every saga that was accepted ends."""
