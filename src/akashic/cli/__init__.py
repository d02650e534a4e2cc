"""The command line: parse, call one function, present.

May import: `akashic.app` and below. Never holds logic.
"""
