"""Tests of gates and mailboxes need no fixtures of their own."""
