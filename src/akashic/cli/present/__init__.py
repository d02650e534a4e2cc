"""How runs look: live on a terminal, as plain lines, as JSON lines, and the summary at the end."""
