"""Empty: an app without this module would get no signals."""
