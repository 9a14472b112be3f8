"""Database: everything that the bridge does with a connection to PostgreSQL."""
