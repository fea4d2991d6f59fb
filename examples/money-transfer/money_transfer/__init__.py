"""Money that moves from one account to another, one transfer per account at a time."""
