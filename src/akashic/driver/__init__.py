"""The loop that keeps a stream moving: read events, ask the engine, append the intent, let a port act.

May import: `akashic.engine`, `akashic.journal` and below. Never decides, and knows no port's inside.
"""
