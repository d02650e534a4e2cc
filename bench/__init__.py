"""Measures Akashic: against act where act does the same work, and alone where only Akashic does it.

Run with `make bench`, or `.venv/bin/python -m bench --help`. README.md beside this file says how it measures.
"""
