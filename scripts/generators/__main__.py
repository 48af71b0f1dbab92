"""Write all generated files, or (``--check``) name those that drifted from the code."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from . import examples, tables
from .asyncapi import asyncapi_json
from .openapi import openapi_json
from .schemas import schema_json
from .typescript import protocol_d_ts

ROOT = Path(__file__).resolve().parents[2]


def outputs(root: Path = ROOT) -> dict[Path, str]:
    """Return the text of every generated file."""
    protocol = root / "protocol"
    told = examples.load(protocol / "examples")
    return {
        protocol / "asyncapi.json": _json(asyncapi_json(told)),
        protocol / "openapi.json": _json(openapi_json(told)),
        protocol / "schema.json": _json(schema_json()),
        protocol / "protocol.d.ts": protocol_d_ts(),
        **_filled(protocol / "README.md", tables.protocol_blocks()),
        **_filled(root / "docs" / "operating.md", tables.operating_blocks()),
        **_performance(root / "docs"),
        **{path: examples.tidy(path.read_text("utf-8")) for path in (protocol / "examples").glob("*.json")},
    }


def _filled(path: Path, blocks: dict[str, str]) -> dict[Path, str]:
    return {path: tables.fill(path.read_text("utf-8"), blocks)} if path.exists() else {}


def _performance(docs: Path) -> dict[Path, str]:
    figures = docs / "performance.json"
    return _filled(docs / "performance.md", tables.performance_blocks(figures)) if figures.exists() else {}


def drifted(files: dict[Path, str]) -> list[Path]:
    """Return the files that are not on disk as they should be."""
    return sorted(path for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text)


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="scripts/generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file drifted")
    check = parser.parse_args(arguments).check
    files = outputs(root)
    changed = drifted(files)
    for path in changed:
        print(f"{path.relative_to(root)}{' drifted; run scripts/generate' if check else ' written'}")
        if not check:
            path.write_text(files[path], "utf-8")
    return 1 if check and changed else 0


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
