"""Pure rules of conversation and face: no I/O, no clock, no dice."""
