"""Plug-ins: one file in a folder, or code of the user's own; loaded, checked and called so that every mistake is named."""
