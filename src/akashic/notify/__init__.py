"""Tells people: console, Slack-compatible webhook, mail. Retried; a dead receiver fails nothing.

May import: `akashic.source`, `akashic.errors`. Never imports a sibling concern.
"""
