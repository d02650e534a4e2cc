"""The composition root: reads settings, builds the parts, hands them out.

May import: everything below the doors. Never is imported by what it builds.
"""

from akashic.app.application import Application

__all__ = ["Application"]
