"""The workflow language: model, expressions, contexts, matrix, triggers, lint. Pure.

May import: `akashic.source`, `akashic.errors`. Never does I/O, reads a clock or a random number.
"""
