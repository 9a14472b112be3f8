"""The command `bridge`: its help, its output, and that every mistake gives one clear sentence."""
