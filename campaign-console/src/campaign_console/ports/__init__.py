"""What the service asks of the world outside: storage, mail, suggestions, billing.

Each has a default that needs nothing.
"""
