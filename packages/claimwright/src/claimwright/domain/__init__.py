"""The rules of a claim: standard library only, no clock, no input or output."""
