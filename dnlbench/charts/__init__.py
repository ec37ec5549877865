"""Charts. `epochs`, `depth` and `live` build them; `terminal`, `mpl` and `web` render them."""
