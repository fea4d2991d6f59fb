"""The coordinator: tracks sagas in Redis, asks participants over RabbitMQ, and undoes what can't be finished."""
