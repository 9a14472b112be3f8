"""An app whose models live in its migrations only, which a test writes."""
