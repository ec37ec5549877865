"""Charts in character cells: pure functions from a figure, a view of it and a size to what stands in each cell."""
