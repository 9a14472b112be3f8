"""Declarations: the watches that the project declares, and how the database is brought in line with them."""
