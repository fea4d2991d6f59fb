"""Definitions as documents: read from files, drawn, compared, and checked against who is there to carry them out."""
