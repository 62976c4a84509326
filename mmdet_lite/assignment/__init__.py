"""What assigners did with one training image: captured from a real step, counted, drawn."""
