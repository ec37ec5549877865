"""Charts: what they show is decided in `build`, and drawn by the terminal, Matplotlib and the page."""
