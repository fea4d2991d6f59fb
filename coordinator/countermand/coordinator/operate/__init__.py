"""What an operator or a client can ask for, free of any framework: the command line stands on it."""
