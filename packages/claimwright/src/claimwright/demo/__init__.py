"""The demo: a year of real New York weather, calculated by two processes at once.

It runs the product's own operations on servers of its own, and looks at what they stored.
"""
