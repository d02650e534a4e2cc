"""What is wrong, risky or different in a workflow file: one module for each family of rules. Pure.

May import: `akashic.workflow`, `akashic.source`. Reads no file: actions are resolved by a function handed in.
"""

from akashic.workflow.lint.document import ResolveAction
from akashic.workflow.lint.run import RULES, lint_action, lint_workflow

__all__ = ["RULES", "ResolveAction", "lint_action", "lint_workflow"]
