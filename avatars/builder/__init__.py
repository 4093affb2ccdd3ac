"""Turns an avatar recipe and the CC0 base mesh data into a skinned, talking GLB."""
