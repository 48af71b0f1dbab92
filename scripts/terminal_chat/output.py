"""Lines on the terminal, above the prompt."""

import sys

from prompt_toolkit import print_formatted_text
from prompt_toolkit.formatted_text import FormattedText

from .screen import DIM, Line


def say(text: str, style: str = DIM) -> None:
    put([(style, text)])


def put(line: Line | None) -> None:
    if line and sys.stdout.isatty():
        print_formatted_text(FormattedText(line))
    elif line:
        print("".join(text for _, text in line), flush=True)
