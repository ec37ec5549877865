"""The terminal driver on Linux and macOS."""

from __future__ import annotations

import os
import sys

from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message
from textual.messages import InBandWindowResize


class TerminalDriver(LinuxDriver):
    """Textual's driver, with output on stdout and mouse positions in cells."""

    def start_application_mode(self) -> None:
        """Write to stdout, as on Windows: stderr, which Textual uses, may be redirected to a file."""
        self._file = sys.__stdout__
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def process_message(self, message: Message) -> None:
        """Keep the terminal from reporting its size and mouse positions in pixels, unless TEXTUAL_SMOOTH_SCROLL is set.

        After the first report in pixels, Textual 8 reads all positions as pixels, so clicks are misplaced in a terminal that
        still sends cells: https://github.com/Textualize/textual/issues/5547. SIGWINCH reports a new size as well.
        """
        if isinstance(message, InBandWindowResize) and "TEXTUAL_SMOOTH_SCROLL" not in os.environ:
            if message.enabled:  # an earlier program exited without disabling it
                self.write("\x1b[?2048l")
            return
        super().process_message(message)
