"""Fakes that pass the same contract tests as the real parts, for the tests of those who build on Akashic.

May import: everything below `app`. Never is imported by what ships a feature.
"""
