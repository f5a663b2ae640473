"""The methods that label a slide, by the names that sessions, commands and pages know them by."""

from __future__ import annotations

from typing import Literal, get_args

Method = Literal["sic", "refine"]
METHODS: tuple[Method, ...] = get_args(Method)
# What people read.
METHOD_TITLES: dict[Method, str] = {"sic": "As published", "refine": "Refined"}
# What the viewer and `run` use unless told otherwise: measured to be better (benchmarks/README.md).
DEFAULT_METHOD: Method = "refine"
