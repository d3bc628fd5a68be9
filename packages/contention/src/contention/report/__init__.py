"""What was found, for people and for machines: text, a page with a diagram, a document."""
