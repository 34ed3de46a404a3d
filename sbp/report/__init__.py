"""From recorded runs to judged claims, tables and a page."""
