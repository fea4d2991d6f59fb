"""What runs without any server installed: embedded servers, for development only."""
