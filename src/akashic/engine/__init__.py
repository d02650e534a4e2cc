"""The decisions: events, state (a fold over events), and what to do next, for runs and deployments. Pure.

May import: `akashic.workflow`, `akashic.source`, `akashic.errors`, of the journal the shape of a record.
Never does I/O; time, identity and chance are inputs.
"""
