"""Built-in implementations of well-known actions, so that they work with no network.

May import: `akashic.executors`, `akashic.containers`, `akashic.journal`, `akashic.git`, `akashic.errors`,
`akashic.cancellation`. Never is the only way to run an action that can be fetched.
"""
