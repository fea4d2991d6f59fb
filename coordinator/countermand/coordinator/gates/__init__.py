"""What stands between sagas: gates (who holds a lock, who waits for it) and mailboxes (events by business key).

Each is a small aggregate in a partition of its own, changed by messages alone, on a path like the sagas' own: load,
decide, commit, publish, settle. `gate` and `mailbox` decide and are pure: what they have to say is a function of their
state, so that whatever comes again has it said again.
"""
