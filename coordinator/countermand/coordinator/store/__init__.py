"""Where sagas are kept. `saga_store` keeps them in Redis or Valkey; `memory` in the process, for tests."""
