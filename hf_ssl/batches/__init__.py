"""What one step is made of: which examples, their views, and how they are stacked."""
