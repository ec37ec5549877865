"""The terminal UI: it follows run directories, reads profiles and steers engines; it never trains and never imports torch."""
