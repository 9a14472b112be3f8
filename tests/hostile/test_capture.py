"""Capture runs no code of a lesser role with the owner's rights, whatever the watched table is made of."""
