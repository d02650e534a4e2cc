"""The append-only, hash-chained journal, and the logs, blobs, artifacts and caches beside it.

May import: `akashic.errors`. Never knows what an event means.
"""
