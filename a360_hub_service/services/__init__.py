"""Use cases, one module per area: plain functions over a session; nothing of HTTP in here."""
