"""The services that marketplace actions call: artifacts, caches and ID tokens, as GitHub's own toolkit asks.

May import: `akashic.engine.requests`, `akashic.actions.scopes`, `akashic.journal` and below. Never starts
before a step needs it, never listens on a wildcard address, never makes a path out of what a request names.
"""
