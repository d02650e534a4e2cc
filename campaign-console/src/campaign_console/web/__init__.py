"""The doors: pages, JSON API, health, metrics. Handlers parse, call one function of the core, and present."""
