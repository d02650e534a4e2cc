"""Where a job's processes live, behind one small protocol: `host` here, others beside it.

May import: `akashic.journal`, `akashic.source`, `akashic.errors`. Never interprets a workflow.
"""
