"""An agent that organises a dinner: a model that plans, tools that act, and a person who has the last word."""
