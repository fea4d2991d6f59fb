"""A trip: flights there and back, a room with a transfer to it, and one payment."""
