"""Finds, fetches, pins and runs actions: composite, JavaScript and built-in ones.

May import what `akashic.runner` may. Never decides whether a step runs.
"""
