"""The terminal UI: it polls run directories, reads profiles and controls engines. It never trains and never imports torch."""
