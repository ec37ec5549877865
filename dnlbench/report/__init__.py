"""Reports of profiles and comparisons: terminal tables, Markdown, LaTeX, HTML, CSV, JSON and JUnit XML."""
