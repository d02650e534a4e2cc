"""The life of an image: built with or without an engine, named, looked into, tried, pushed, cleaned up.

May import: `akashic.executors`, `akashic.containers`, `akashic.git`, `akashic.errors`,
`akashic.cancellation`. Never imports a sibling concern.
"""
