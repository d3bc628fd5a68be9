"""The command line: it parses, calls one operation, and renders what that returns."""
