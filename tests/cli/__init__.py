"""The command `bridge`: what it teaches, what it shows, and that every mistake is one clear sentence."""
