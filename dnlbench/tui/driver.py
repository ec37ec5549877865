"""How the terminal UI talks to a terminal on Linux and macOS."""

from __future__ import annotations

import os
import sys

from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message
from textual.messages import InBandWindowResize


class TerminalDriver(LinuxDriver):
    """Textual's driver, but painting on stdout, and with the mouse in whole cells."""

    def start_application_mode(self) -> None:
        """Start to paint on stdout, as on Windows: stderr, where Textual paints, may be redirected to a file."""
        self._file = sys.__stdout__
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def process_message(self, message: Message) -> None:
        """Never let a terminal report its size and the mouse in pixels.

        From its first such report on Textual 8 takes all positions for pixels, and a terminal that still sends cells gets
        clicks in wrong places: https://github.com/Textualize/textual/issues/5547. Without the reports a signal tells of a
        new size. Who sets TEXTUAL_SMOOTH_SCROLL, which needs them, gets them.
        """
        if isinstance(message, InBandWindowResize) and "TEXTUAL_SMOOTH_SCROLL" not in os.environ:
            if message.enabled:  # by a program that left without disabling it
                self.write("\x1b[?2048l")
            return
        super().process_message(message)
