"""Executes one job: steps, shells, commands, environment files, actions, services, masking.

May import: `akashic.actions`, `akashic.executors`, `akashic.driver.ports`, `akashic.engine`,
`akashic.workflow`, `akashic.journal` and below. Never decides what runs next.
"""
