"""Where a job's processes live, behind one small protocol: `host` and `docker`; `providers` bring services to
the host.

May import: `akashic.containers`, `akashic.git`, `akashic.errors`, `akashic.cancellation`. Never interprets a
workflow.
"""
