"""Where a participant's barrier keeps its rows. Import the adapter that you use from its own module:

`inboxes.sqlalchemy`   effect exactly once: the row commits in the handler's own transaction (SQLite, PostgreSQL)
`inboxes.redis`        effect once for handlers that are idempotent by key (Redis 7, Valkey, and their clusters)
`inboxes.memory`       as Redis, for tests and for what may be forgotten when the process ends
"""
