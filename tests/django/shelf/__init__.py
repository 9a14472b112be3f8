"""An app whose models exist only in its migrations, which a test writes."""
