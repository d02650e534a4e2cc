"""Text that people wrote, with the place of every word: positions, problems, and YAML as GitHub reads it.

May import: `akashic.errors`. Never reads a file, and knows no workflow syntax.
"""
