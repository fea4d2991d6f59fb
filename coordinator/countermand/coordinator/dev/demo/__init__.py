"""`countermand demo`: the order example runs through crashes, on the screen, and its books are balanced.

The coordinator, the three services and the shop are processes of their own: each can be killed like any other. The demo
itself only watches. It reads the store, listens to what the shop says, and judges the ledgers when all is over.
"""
