"""Built-in implementations of well-known actions, so that they work with no network.

May import: `akashic.executors`, `akashic.workflow`, `akashic.journal` and below. Never is the only way
to run an action that can be fetched.
"""
