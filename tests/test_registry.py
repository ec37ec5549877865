"""Names of parts: built in, of installed packages, and ``module:object``."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnlbench.registry import Listed, Registry, is_reference


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[int]:
    """Parts of which a package offers two, one under the name of a built-in part."""
    info = tmp_path / "extra_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: extra-parts\nVersion: 1.0\nSummary: Colors.\n")
    (info / "entry_points.txt").write_text("[dnlbench.widgets]\nred = parts.colors:red\nsmall = parts:huge\n")
    monkeypatch.syspath_prepend(tmp_path)
    return Registry(kind="widget", built_in={"small": 1, "large": 2})


def test_parts_of_packages_are_found_without_their_import(registry: Registry[int]) -> None:
    assert registry.names == ("small", "large", "red")
    assert list(registry.listed()) == [
        Listed(name="small", provider="dnlbench", summary=""),
        Listed(name="large", provider="dnlbench", summary=""),
        Listed(name="red", provider="extra-parts 1.0 (parts.colors:red)", summary="Colors."),
    ]
    assert registry.reference("red") == "parts.colors:red"


def test_built_in_parts_are_not_replaced(registry: Registry[int]) -> None:
    assert not registry.is_custom("small")
    assert registry.is_custom("red")
    assert registry.is_custom("mine:part")


@pytest.mark.parametrize("name", ["small", "red", "mine:part", "package.module:part_2"])
def test_known_names(registry: Registry[int], name: str) -> None:
    assert name in registry


@pytest.mark.parametrize("name", ["", "blue", "a b:c", "1a:b", "a:", ":b", "a:b:c", "a.b", 3])
def test_unknown_names(registry: Registry[int], name: object) -> None:
    assert name not in registry


def test_a_reference_has_a_module_and_an_object() -> None:
    assert is_reference("package.module:object")
    assert not is_reference("package.module")
