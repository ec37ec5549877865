"""Charts: `epochs`, `depth` and `live` decide what they show, and `terminal`, `mpl` and the page draw it."""
