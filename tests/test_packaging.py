import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_package_is_listed() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    roots = {"lightning_nas": "lightning_nas", **config["package-dir"]}
    found = {
        ".".join((name, *init.parent.relative_to(ROOT / folder).parts))
        for name, folder in roots.items()
        for init in (ROOT / folder).rglob("__init__.py")  # does not follow the links
    }
    assert found == set(config["packages"])


def test_links_lead_to_the_top_level_folders() -> None:
    for name in ("callbacks", "datamodules"):
        assert (ROOT / "lightning_nas" / name).resolve() == ROOT / name
