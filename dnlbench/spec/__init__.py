"""Specs: read and validate TOML, and compute a spec's identity."""

from dnlbench.spec.identity import content_hash, spec_hash
from dnlbench.spec.presets import Preset, list_presets, read_preset
from dnlbench.spec.read import SpecText, load_toml, parse_spec, read_spec
