"""The last wing: scores as text, as a page, and beside other scores. It knows no model by name."""
