"""Service containers without containers: the programs of this machine that stand for well-known images.

May import what `akashic.executors` may. Never guesses: an image that none knows is refused by name.
"""
