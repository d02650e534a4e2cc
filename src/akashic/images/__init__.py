"""The life of an image: an OCI layout built without an engine, image stores, references, tags.

May import: `akashic.journal`, `akashic.source`, `akashic.errors`. Never imports a sibling concern.
"""
